"""``[search]``: settings of text search."""

from __future__ import annotations

from serendip.config import Config


class SearchConfig(Config):
    """Settings of text search."""

    fields: tuple[str, ...] | None = None
    """Fields of the word index besides the title; None = description and all attributes except
    fractional numbers."""
