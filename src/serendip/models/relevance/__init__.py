"""P(irrelevant) of a query-item pair.

``features.py`` computes the features, from ``term_overlap``, ``reference``, ``feedback`` and
``projection``; ``model.py`` predicts when serving, ``train.py`` fits.
"""
