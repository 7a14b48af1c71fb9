"""The report of an evaluation.

``document.py`` is its JSON, ``verdict.py`` its sentences; templates and ``charts.py`` are its HTML.
"""
