"""Query rewrites.

``candidates.py`` proposes them, ``scorer.py`` estimates their use, ``table.py`` is what a
generation serves.
"""
