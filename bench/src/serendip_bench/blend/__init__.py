"""A learned blend of recommenders.

``config.py`` (settings), ``features.py`` (inputs), ``model.py`` (numpy, served), ``train.py``
(torch).
"""
