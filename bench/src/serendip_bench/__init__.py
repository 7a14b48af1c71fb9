"""Benchmarks on public data, run by ``serendip bench``."""

from __future__ import annotations
