"""Tables of the database besides items and events, one class each.

Statements (``*_sql.py``) are imported only where a table is used.
"""
