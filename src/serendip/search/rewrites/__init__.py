"""Query rewrites: ``candidates.py`` proposes them, ``table.py`` is what a generation serves."""
