"""Semantic IDs: codes of items from k-means over their vectors.

``kmeans.py`` fits codebooks, ``code_matching.py`` keeps code numbers stable between trainings,
``group_names.py`` names groups, ``agreement.py`` measures agreement with content and behaviour.
"""
