"""Readers of users' own files: CSV, JSONL and Parquet tables of items and events."""
