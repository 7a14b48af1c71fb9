"""``serendip init``.

``encodings.py``, ``columns.py`` and ``attributes.py`` guess how the user's files are written and
what is in them, ``workspace.py`` writes ``serendip.toml``.
"""
