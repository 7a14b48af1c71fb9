"""The event log as the database has it: which segments count, and the tail.

``view.py`` reads it in one transaction, ``writer.py`` writes segments (``data/log``).
"""
