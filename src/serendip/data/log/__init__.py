"""The event log's immutable segments.

``event_table.py`` has events as Arrow columns, ``segment.py`` one segment and its by-user index,
``segment_folder.py`` all of a workspace, ``columns.py`` the whole log as numbers. The database says
which segments count (``data/store``).
"""
