"""Suggested queries.

``candidates.py`` finds them, ``checks.py`` verifies them, ``table.py`` and ``completions.py``
serve them, ``ranker.py`` orders them.
"""
