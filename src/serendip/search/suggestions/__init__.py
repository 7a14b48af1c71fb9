"""Suggested queries."""
