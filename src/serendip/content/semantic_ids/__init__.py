"""Semantic IDs: codes of items from k-means over their vectors.

``kmeans.py`` fits codebooks, ``group_names.py`` names groups.
"""
