"""Blend."""
