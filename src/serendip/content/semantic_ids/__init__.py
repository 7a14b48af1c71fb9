"""Semantic IDs from vectors.

``kmeans.py`` fits codebooks, ``code_matching.py`` keeps codes stable, ``group_names.py`` names
groups, ``agreement.py`` measures.
"""
