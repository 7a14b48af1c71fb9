"""Semantic IDs of a workspace.

``build.py`` makes them, ``versions.py`` keeps their versions, ``inspect.py`` shows and compares
them.
"""
