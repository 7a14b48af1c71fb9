"""Suggested queries, and the training of their ranker."""

from __future__ import annotations
