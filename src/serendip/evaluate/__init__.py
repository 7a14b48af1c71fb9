"""Is it better: metrics (one per file), slices, comparison, report. Never imports a model."""
