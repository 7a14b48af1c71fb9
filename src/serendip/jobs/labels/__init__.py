"""Relevance labels of query-item pairs.

``draw_lists.py`` draws what is labelled, ``pair_files.py`` reads and writes it, ``agreement.py``
says whether labels can be trusted.
"""
