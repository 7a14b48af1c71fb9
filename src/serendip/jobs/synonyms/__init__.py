"""Proposed synonyms: ``mine.py`` from the log and word vectors, ``write_by_llm.py`` by an LLM."""
