"""Relevance labels of query-item pairs.

``by_hand.py`` and ``by_llm.py`` collect them, ``agreement.py`` compares them, the others read and
write their files.
"""

from __future__ import annotations
