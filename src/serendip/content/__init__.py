"""What items are: text vectors, semantic IDs, names of groups, written queries."""
