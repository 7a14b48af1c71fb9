"""Users' files.

``tables.py`` opens CSV, JSONL and Parquet, ``columns.py``, ``cells.py`` and ``times.py`` interpret
columns and cells, ``readers.py`` opens files of items and events, which ``item_reader.py`` and
``event_reader.py`` read.
"""
