"""Queries worth suggesting: built, learned to rank, written by an LLM, measured."""
