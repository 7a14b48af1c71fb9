"""``serendip init``."""
