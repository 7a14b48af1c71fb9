"""Relevance labels of query-item pairs.

``by_llm.py`` collects labels, ``agreement.py`` compares them, ``plausibility.py`` tells them from
coin flips, ``pair_files.py`` reads and writes them, ``llm_examples.py`` builds what an LLM reads.
"""

from __future__ import annotations
