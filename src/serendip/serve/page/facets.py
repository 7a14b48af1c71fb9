"""Facets of a search on the page: the words that most of the results have, as links that filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serendip.engine.listing import Facet
from serendip.serve.page.filtered_search import FilteredSearch

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
    """The links of one attribute; without a name those of other filters."""

    name: str
    links: list[FacetLink]


def build_facets(facets: Mapping[str, Facet], search: FilteredSearch) -> list[FacetGroup]:
    """Groups of links: what the search filters by, then the attributes that its results share.

    Args:
        facets: attribute -> its values in the results.
        search: that the results are of.
    """
    chosen = {name: _picked(name, search) for name in facets}
    told = {f"{name}={value}" for name, values in chosen.items() for value in values}
    others = [one for one in search.filters if one not in told]
    named = [FacetLink(one, 0, search.toggle(one), True) for one in others]
    groups = [FacetGroup("", named)] if named else []
    groups += [
        _group(name, facets[name], picked, search) for name, picked in chosen.items() if picked
    ]
    shared = [name for name, picked in chosen.items() if not picked and _is_shared(facets[name])]
    free = max(_MOST_GROUPS - len(groups), 0)
    return groups + [_group(name, facets[name], [], search) for name in shared[:free]]


def _group(name: str, facet: Facet, picked: Sequence[str], search: FilteredSearch) -> FacetGroup:
    """The chosen values of an attribute, then the most frequent others."""
    values = [
        *picked,
        *(value for value in facet.values if _is_word(value) and value not in picked),
    ]
    shown = values[: max(_MOST_LINKS, len(picked))]
    links = [
        FacetLink(
            value,
            facet.values.get(value, 0),
            search.toggle(f"{name}={value}"),
            value in picked,
        )
        for value in shown
    ]
    return FacetGroup(name, links)


def _picked(name: str, search: FilteredSearch) -> list[str]:
    """Values of an attribute that the search filters by."""
    prefix = f"{name}="
    return [one.removeprefix(prefix) for one in search.filters if one.startswith(prefix)]


def _is_shared(facet: Facet) -> bool:
    """Whether an attribute is worth choosing by: two values or more, each of several results."""
    counts = [count for value, count in facet.values.items() if _is_word(value)]
    return len(counts) > 1 and sum(counts) >= _LEAST_SHARED * len(counts)


def _is_word(value: str) -> bool:
    return len(value) <= _MOST_CHARS and "://" not in value and "|" not in value
