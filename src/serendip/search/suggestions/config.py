"""``[queries]``: settings of query suggestions."""

from __future__ import annotations

from pydantic import PositiveInt

from serendip.config import Config


class QueriesConfig(Config):
    """Settings of query suggestions."""

    phrases: tuple[str, ...] = ("description",)
    """Fields whose frequent words and phrases are suggested."""

    min_users: PositiveInt = 3
    """Minimum number of distinct people who searched a logged query."""

    unsafe_words: tuple[str, ...] = ()
    """Words that no suggestion may contain, in addition to the built-in list."""

    category: str = ""
    """Attribute whose values are the categories of results; empty = one that is called a category,
    else the one whose values are shared the most."""
