"""Generated texts for thin items, ``serendip enrich``.

``write.py`` writes them by rules or an LLM, ``gate.py`` decides on their use,
``judged_queries.py`` reads the gate's queries.
"""

from __future__ import annotations
