"""``serendip evaluate``."""
