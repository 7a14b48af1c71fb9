"""Sparse rows, one per item: counted, computed in tasks, packed, and growing."""
