"""Relevance judges, from rules to the distilled model, on gold labels."""
