"""Generated texts and attribute values of items, ``serendip enrich``.

``write.py`` and ``attributes.py`` write them by an LLM or without one, ``gate.py`` decides on their
use, ``judged_queries.py`` reads the queries that it asks.
"""

from __future__ import annotations
