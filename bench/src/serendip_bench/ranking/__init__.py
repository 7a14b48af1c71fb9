"""Models that rank all items: sequences, cold items, one model for several tasks."""
