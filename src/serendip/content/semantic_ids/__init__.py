"""Semantic ids."""
