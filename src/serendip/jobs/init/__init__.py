"""``serendip init``.

``guess_columns.py`` and ``cell_kinds.py`` read the user's files, ``workspace.py`` writes
``serendip.toml``.
"""
