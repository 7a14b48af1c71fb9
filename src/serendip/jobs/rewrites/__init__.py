"""Query rewrites.

``build.py`` builds the table of a generation, ``scorer_data.py`` the training rows of its scorer.
"""
