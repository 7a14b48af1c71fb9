"""The database.

``store.py`` reads and writes items and events, ``schema.py`` has its tables, ``database.py`` and
``sqlite_file.py`` its connections. ``log_view.py`` reads the event log in one transaction,
``log_writer.py`` writes its segments. The others have one table or check each.
"""
