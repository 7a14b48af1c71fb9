"""The report of an evaluation.

``document.py`` is its JSON, ``verdict.py`` its sentences, ``page.py`` and ``plots.py`` its HTML.
"""
