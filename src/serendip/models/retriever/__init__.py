"""Retriever."""
