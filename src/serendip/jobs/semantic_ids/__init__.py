"""Semantic IDs of a workspace, ``serendip ids``.

``codes.py`` reads those of a generation, ``inspect.py`` describes, measures and compares them.
"""
