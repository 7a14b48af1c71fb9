"""The offline half: from the store to a report and a published generation."""

from __future__ import annotations
