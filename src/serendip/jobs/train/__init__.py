"""A training.

``train.py`` lists its steps, ``fit.py`` fits models and ranker, ``gates.py`` checks the result,
``carry_over.py`` keeps IDs and vectors stable.
"""
