"""Trains the ranker, on requests of the newer part of the data with models of the older part.

``requests.py`` and ``basket_rows.py`` label requests by the events that followed, ``rows.py`` makes
rows of their candidates, ``train.py`` chooses what the ranker reads and orders and trains it on
them.
"""
