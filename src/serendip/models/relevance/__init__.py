"""P(irrelevant) of a query-item pair.

``features.py`` and what it draws on (``term_overlap``, ``hubness``, ``feedback``, ``projection``),
``model.py`` serves, ``train.py`` fits.
"""
