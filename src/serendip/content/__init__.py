"""Content of items: encoders, fusion, semantic IDs, alignment with behaviour, synthetic queries."""
