"""Arrays with one row per item: memory-mapped, growing, packed or aligned; strings in columns."""
