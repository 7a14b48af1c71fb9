"""Indexes of item vectors: approximate search for dot products."""
