"""``[search]``: settings of text search."""

from __future__ import annotations

from pydantic import Field, PositiveInt

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

    young_share: float = Field(default=0.2, ge=0.0, le=0.5)
    """Largest share of the chips of a list that lead to young categories, rounded down; these come
    first. They are drawn from the best such queries, and answers and events carry the propensity.
    A category is young for 30 days from its first item, unless it is as old as the catalogue.
    Without a young category, or at 0, no chip is chosen so."""


class SearchConfig(Config):
    """Settings of text search."""

    fields: tuple[str, ...] | None = None
    """Fields of the word index besides the title; None = description and all attributes except
    fractional numbers."""
