"""Serendip: one engine for search and recommendations."""

__version__ = "0.1.0"
