"""Indexes of item vectors: approximate search for dot products, on one machine or on several.

``ann_index.py`` is the inverted file, ``vector_index.py`` the index of one model,
``sharded_index.py`` spreads items over shards, and ``remote_shard.py`` asks one elsewhere.
"""
