"""Query rewrites.

``build.py`` makes the table of a generation, ``scorer_data.py`` the training examples of its
scorer.
"""
