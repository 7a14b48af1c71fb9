"""Semantic IDs: codes of items from k-means over their vectors.

``kmeans.py`` fits codebooks, ``group_names.py`` names groups, ``agreement.py`` measures agreement
with content and behaviour.
"""
