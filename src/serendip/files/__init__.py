"""Users' files: tables that DuckDB reads, the names of their columns, and what their cells say.

``tables.py`` opens a file, ``cells.py`` and ``times.py`` are SQL of its cells,
``names.toml`` has what columns are called; ``items.py``, ``events.py`` and ``users.py`` read what
an import writes, by the settings of ``config.py``.
"""
