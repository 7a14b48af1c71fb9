"""What items are: text vectors, their cache, and semantic IDs."""
