"""Wrong, hostile and random input to every route of a real service."""
