"""``serendip demo``."""
