"""``[queries]``: which queries are worth suggesting."""

from __future__ import annotations

from string import Formatter
from typing import Literal, TypeAlias

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from serendip.config import Config

Source: TypeAlias = Literal["fields", "logs", "own", "rules", "llm"]
SOURCES: tuple[Source, ...] = ("fields", "logs", "own", "rules", "llm")

DEFAULT_TEMPLATES = (
    "{genres}",
    "{cast}",
    "{director}",
    "{author}",
    "{brand}",
    "{genre}",
    "{category}",
    "{year:decade} {genres}",
    "{year:decade} {genre}",
    "{genres} with {cast}",
    "{genres} by {director}",
    "{genre} by {author}",
    "{brand} {category}",
    "like {title}",
)
"""Over names that catalogues use; those whose fields a catalogue has not say nothing."""

DECADE = "decade"


class QueriesConfig(Config):
    """What becomes a suggestion."""

    sources: tuple[Source, ...] = SOURCES
    """Where suggestions come from: ``fields`` (titles and single attribute values), ``logs`` (what
    people searched), ``own`` (what the user searched and chose), ``rules`` (several attributes, and
    phrases), ``llm`` (written by ``serendip queries build --llm``)."""

    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    """How attributes become queries: ``{name}`` is a value of an attribute, ``{name:decade}`` the
    decade of a year, ``90s``. A template with one attribute and nothing else is of ``fields``."""

    phrases: tuple[str, ...] = ("description",)
    """Fields whose frequent words and phrases are candidates of ``rules``."""

    min_users: PositiveInt = 3
    """A logged query that fewer different people have searched never becomes a suggestion."""

    min_items: PositiveInt = 2
    """What fewer items have in common is no candidate, but for ``like {title}``."""

    good_share: float = Field(default=0.3, gt=0.0, le=1.0)
    """Share of the first ten results, or of all items meant where these are fewer, that must be
    items that the query was made from."""

    same_share: float = Field(default=0.8, gt=0.0, le=1.0)
    """Of two queries whose first ten results overlap so far (common / all), one is kept."""

    most_of_template: PositiveInt = 2_000
    """Candidates of one template, those with the most items."""

    most_phrases: PositiveInt = 10_000
    """Candidates of one field of phrases, those with the most items."""

    unsafe_words: tuple[str, ...] = ()
    """Words that no suggestion may have, beside those of the built-in list."""

    category: str = ""
    """Attribute by which results are new to a user or not; empty = the one whose values are shared
    the most."""

    new_categories_first: bool = False
    """Whether chips that lead to categories that the user has not chosen yet come first."""

    exploration: NonNegativeInt = 0
    """The last chip is drawn from so many next-best queries, so that something can be learned about
    what is never shown first; 0 = none."""

    @field_validator("templates")
    @classmethod
    def _readable(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for one in templates:
            try:
                parts = [(name, form) for _, name, form, _ in Formatter().parse(one) if name]
            except ValueError as error:
                raise ValueError(f"{one!r} is no template: {error}") from None
            wrong = [form for _, form in parts if form not in ("", DECADE)]
            if not parts or wrong:
                raise ValueError(f"{one!r} has no {{attribute}}, or a form other than :{DECADE}")
        return templates
