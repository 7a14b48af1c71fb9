"""``serendip synonyms``: pairs proposed by the log and word vectors (``mine.py``), or by an LLM."""
