"""Relevance labels of query-item pairs.

``by_hand.py`` and ``by_llm.py`` collect labels, ``agreement.py`` compares them, ``pair_files.py``
and ``label_file.py`` read and write them, ``llm_examples.py`` builds what an LLM reads.
"""

from __future__ import annotations
