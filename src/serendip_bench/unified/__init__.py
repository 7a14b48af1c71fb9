"""Unified."""
