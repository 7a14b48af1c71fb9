"""Unified two-tower retriever."""
