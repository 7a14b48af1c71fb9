"""The engine: answers requests from a published generation and the live store."""
