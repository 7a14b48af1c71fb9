"""The database.

``store.py`` reads and writes items and events, ``schema.py`` has its tables, ``database.py`` and
``sqlite_file.py`` its connections, the others one table or check each.
"""
