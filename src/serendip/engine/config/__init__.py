"""Settings of a workspace: the tables of ``serendip.toml``."""
