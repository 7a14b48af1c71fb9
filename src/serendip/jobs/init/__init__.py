"""``serendip init``.

``encodings.py``, ``columns.py`` and ``attributes.py`` guess how the user's files are written and
what is in them, ``settings_file.py`` is the text of ``serendip.toml``, and ``workspace.py`` writes
it.
"""
