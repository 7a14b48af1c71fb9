"""Events as columns: ``event_table.py`` as Arrow, ``columns.py`` the whole log as numbers."""
