"""The outside: HTTP API, limits, metrics and the page."""
