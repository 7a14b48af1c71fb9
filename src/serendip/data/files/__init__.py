"""Users' files.

``tables.py`` opens CSV, JSONL and Parquet, ``columns.py`` and ``times.py`` interpret cells,
``readers.py`` yields items and events.
"""
