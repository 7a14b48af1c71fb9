"""The event log in the database: the tail, rows as the API posts them, and packs, a row per user.

``packs.py`` has the form of a pack, ``reader.py`` reads the whole log, ``pack_writer.py``
writes packs. Posted events go to the tail by ``Store.put_event_groups``.
"""
