"""Indexes of item vectors: approximate search for dot products.

``ann_index.py`` is the inverted file, ``vector_index.py`` the index of one model.
"""
