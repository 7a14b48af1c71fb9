"""The revisions, oldest first; see ``migrations``."""
