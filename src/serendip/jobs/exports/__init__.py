"""Files for everybody: ``serendip export``, ``recommend --batch`` and ``embed``."""
