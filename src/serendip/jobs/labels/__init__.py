"""Relevance labels of (query, item) pairs.

``by_hand.py`` and ``by_llm.py`` collect labels, ``agreement.py`` compares labellers, the other
modules read and write the files.
"""

from __future__ import annotations
