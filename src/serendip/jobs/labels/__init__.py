"""Relevance labels of query-item pairs."""
