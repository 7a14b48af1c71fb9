"""The database of a workspace: items, events, generated texts and the rules of what may enter."""
