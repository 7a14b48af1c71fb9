"""The database.

``store.py`` reads and writes items and events, ``schema.py`` has its tables, ``base.py`` a pool of
connections to SQLite (``sqlite.py``) or PostgreSQL (``postgres.py``), which ``database.py`` opens.
``event_log`` reads, packs and erases events, ``tables`` has what is neither item nor event. The
others have one check or task each.
"""
