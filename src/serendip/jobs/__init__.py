"""Offline jobs: they read the store and write generations, reports and files."""

from __future__ import annotations
