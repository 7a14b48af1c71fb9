"""Spelling correction (noisy channel)."""
