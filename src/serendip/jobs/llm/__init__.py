"""What an LLM writes: labels, queries, texts, values of attributes and synonyms."""
