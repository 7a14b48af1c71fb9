"""The outside: HTTP API, hot swap, limits, metrics and the page. Knows nothing of training."""
