"""The event log of a database: the tail, rows as the API posts them, and packs, a row per user."""
