"""The event log in the database: the tail, rows as the API posts them, and packs, a row per user.

``packs.py`` has the form of a pack, ``reader.py`` reads the whole log, ``writer.py`` writes
packs.
"""
