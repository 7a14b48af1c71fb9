"""Suggested queries: ``build.py`` verifies and publishes them, ``ranker_data.py`` trains their
ranker.
"""

from __future__ import annotations
