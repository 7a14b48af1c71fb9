"""Semantic IDs of a workspace, ``serendip ids``.

``build.py`` builds them, ``versions.py`` stores their versions, ``inspect.py`` describes and
compares them.
"""
