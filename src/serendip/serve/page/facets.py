"""Facets of a search on the page: the words that most of the results have, as links that filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from serendip.engine.listing import Facet

ASKED = 6
"""Attributes of the catalogue that are counted."""

_MOST_GROUPS = 2
_MOST_LINKS = 8
_MOST_CHARS = 30
"""Characters of a value; longer ones are texts and no words to choose by."""
_LEAST_SHARED = 2.0
"""Mean number of results of a value from which on an attribute is worth choosing by."""


@dataclass(frozen=True, slots=True)
class FacetLink:
    """A value to filter by, or to filter by no longer.

    Args:
        text: as shown.
        count: results that have it.
        link: to the search with it, or without it if it is chosen.
        is_chosen: whether the search filters by it.
    """

    text: str
    count: int
    link: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class FacetGroup:
    """The links of one attribute."""

    name: str
    links: list[FacetLink]


def build_facets(
    facets: Mapping[str, Facet], chosen: Sequence[str], text: str, user_id: str
) -> list[FacetGroup]:
    """Groups of links for the attributes that results share; chosen values come first.

    Args:
        facets: attribute -> its values in the results.
        chosen: filters of the search, as written.
        text: the search text.
        user_id: the visitor.
    """
    groups = []
    for name, facet in facets.items():
        prefix = f"{name}="
        picked = [one.removeprefix(prefix) for one in chosen if one.startswith(prefix)]
        words = {value: count for value, count in facet.values.items() if _is_word(value)}
        is_shared = len(words) > 1 and sum(words.values()) >= _LEAST_SHARED * len(words)
        if not picked and not is_shared:
            continue
        others = [value for value in words if value not in picked]
        values = [*picked, *others][:_MOST_LINKS]
        links = [
            FacetLink(
                value,
                facet.values.get(value, 0),
                _toggle(f"{prefix}{value}", chosen, text, user_id),
                value in picked,
            )
            for value in values
        ]
        groups.append(FacetGroup(name, links))
    return groups[:_MOST_GROUPS]


def _is_word(value: str) -> bool:
    return len(value) <= _MOST_CHARS and "://" not in value and "|" not in value


def _toggle(filter_text: str, chosen: Sequence[str], text: str, user_id: str) -> str:
    """Link to the search with a filter, or without it if it is there."""
    filters = [one for one in chosen if one != filter_text]
    if len(filters) == len(chosen):
        filters.append(filter_text)
    pairs = [("q", text), ("user", user_id), *(("filter", one) for one in filters)]
    return f"/search?{urlencode(pairs)}"
