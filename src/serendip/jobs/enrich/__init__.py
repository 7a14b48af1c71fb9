"""Generated texts about thin items.

``write.py`` writes them by rules or an LLM, ``gate.py`` decides on their use,
``judged_queries.py`` holds its queries.
"""

from __future__ import annotations
