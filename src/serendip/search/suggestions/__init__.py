"""Query suggestions: candidates, their verification, the stored table, the ranker, completions."""
