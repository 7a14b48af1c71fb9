"""Benchmarks on public data: sequences of items, with and without items held out."""

from __future__ import annotations
