"""Execution: thread limits, progress, stage timing, processes, atomic files and versions."""

from __future__ import annotations
