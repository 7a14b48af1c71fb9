"""Suggested queries, ``serendip queries``.

``build.py`` verifies and publishes them, ``ranker_data.py`` trains their ranker,
``write_by_llm.py`` adds queries written by an LLM, ``parts.py`` deals these to what learns from
them.
"""

from __future__ import annotations
