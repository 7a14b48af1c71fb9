"""Semantic IDs: codes of items from k-means over their vectors."""
