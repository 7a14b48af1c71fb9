"""What an LLM writes: labels, queries, texts, values of attributes and synonyms.

``job.py`` asks and keeps answers for one of them, ``gates.py`` decides on their use, shows
them and takes them back, ``improve.py`` does all of it at one price.
"""
