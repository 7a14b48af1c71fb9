"""The database of a workspace: SQLite or PostgreSQL."""
