"""Queries worth suggesting: built, learned to rank, written by an LLM, measured."""

from __future__ import annotations
