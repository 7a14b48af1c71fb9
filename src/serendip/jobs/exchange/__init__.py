"""``serendip export`` and ``serendip convert``: items, users and events in files of other engines.

``export.py`` writes a snapshot of the store in one format, ``convert.py`` makes files for an import
of those of another engine. ``rows.py`` and ``times.py`` have what the formats share; each of the
others knows one:
``open_formats.py``, ``gorse.py``, ``metarank.py``, ``opensearch.py``, ``recbole.py``, ``ubi.py``.
"""
