"""``serendip train``."""
