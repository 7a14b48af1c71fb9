"""Suggested queries.

``build.py`` verifies and publishes them, ``ranker_data.py`` trains their ranker, ``parts.py`` deals
those that an LLM wrote to what learns from them.
"""

from __future__ import annotations
