"""Rewrites."""
