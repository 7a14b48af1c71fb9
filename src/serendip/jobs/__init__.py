"""Offline jobs, one folder per command: they read the store and write reports and artefacts."""

from __future__ import annotations
