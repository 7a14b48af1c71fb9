"""Trains the ranker, on requests of the newer part of the data with models of the older part."""
