"""Offline evaluation: metrics (one per file), slices, comparison, report. Never imports a model."""
