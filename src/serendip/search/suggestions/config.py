"""``[queries]``: settings of query suggestions."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from serendip.config import Config

Source: TypeAlias = Literal["fields", "logs", "own", "rules", "llm"]
SOURCES: tuple[Source, ...] = ("fields", "logs", "own", "rules", "llm")


class QueriesConfig(Config):
    """Settings of query suggestions."""

    sources: tuple[Source, ...] = SOURCES
    """Where suggestions come from: ``fields`` (titles and single attribute values), ``logs``
    (searches of several people), ``own`` (searches and choices of the user), ``rules`` (attributes
    combined, series of titles, and phrases), ``llm`` (written by ``serendip llm run
    queries``)."""

    phrases: tuple[str, ...] = ("description",)
    """Fields whose frequent words and phrases are candidates of ``rules``."""

    min_users: PositiveInt = 3
    """Minimum number of distinct people who searched a logged query."""

    min_items: PositiveInt = 2
    """Minimum number of items of a candidate, except for ``like`` an item."""

    good_share: float = Field(default=0.3, gt=0.0, le=1.0)
    """Minimum share of the first ten results, or of the query's own items if these are fewer, that
    must be items that the query was made from."""

    same_share: float = Field(default=0.8, gt=0.0, le=1.0)
    """Jaccard overlap of the first ten results from which two queries are near-duplicates, of which
    one is kept."""

    most_of_attribute: PositiveInt = 2_000
    """Maximum number of candidates of one attribute, or of one kind of combination: those with the
    most items; and of ``like`` an item: of the most popular ones."""

    most_phrases: PositiveInt = 10_000
    """Maximum number of candidates of one field of phrases, those with the most items."""

    unsafe_words: tuple[str, ...] = ()
    """Words that no suggestion may contain, in addition to the built-in list."""

    category: str = ""
    """Attribute whose values are the categories of results; empty = one that is called a category,
    else the one whose values are shared the most."""

    young_share: float = Field(default=0.2, ge=0.0, le=0.5)
    """Largest share of the chips of a list that lead to young categories, rounded down; these come
    first. They are drawn from the best such queries, and answers and events carry the propensity.
    Without a young category, or at 0, no chip is chosen so."""

    young_days: PositiveFloat = 30.0
    """Days from the first item of a category in which it is young. A category that is as old as the
    catalogue is not."""

    exploration: NonNegativeInt = 0
    """The last chip is drawn at random from this many next-best queries, so that the log has
    evidence about queries below the top; 0 = no exploration."""
