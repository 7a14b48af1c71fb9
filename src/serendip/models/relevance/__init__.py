"""P(irrelevant) of a query-item pair."""
