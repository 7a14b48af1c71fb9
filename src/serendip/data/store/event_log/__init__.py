"""The event log in the database: the tail, rows as the API posts them, and packs, a row per user.

``packs.py`` has the form of a pack, ``view.py`` reads the log in one transaction, ``writer.py``
writes packs.
"""
