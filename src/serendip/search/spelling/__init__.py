"""Spelling correction (noisy channel).

``speller.py`` corrects queries by the costs of ``typos.py`` and the counts of
``word_statistics.py``.
"""
