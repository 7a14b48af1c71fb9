"""Items: the catalogue, attributes, features, semantic IDs, and which of them may be shown."""
