"""SQLite and PostgreSQL behind one seam, ``backend.py``: connections, transactions, failures."""
