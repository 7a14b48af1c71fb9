"""The report of an evaluation.

``document.py`` is its JSON, ``verdict.py`` its sentences, ``page.py``, its templates and
``charts.py`` its HTML.
"""
