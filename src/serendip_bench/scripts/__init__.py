"""Single measurements: run as scripts, each says how in its first lines."""
