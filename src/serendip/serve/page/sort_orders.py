"""The orders that a search of the page offers: that of the engine, and those by a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serendip.engine.listing import AVAILABLE_FROM, DESCENDING, Facet
from serendip.serve.page.filtered_search import FilteredSearch

MOST_NUMBERS = 6
"""Attributes that a search offers to order by."""

_NEWEST = f"{DESCENDING}{AVAILABLE_FROM}"
_LABELS = {_NEWEST: "Newest first", AVAILABLE_FROM: "Oldest first"}


@dataclass(frozen=True, slots=True)
class SortOrder:
    """An order to choose.

    Args:
        value: as the engine reads it; empty = its own order.
        text: as shown.
        is_chosen: whether the results are in it.
    """

    value: str
    text: str
    is_chosen: bool


def choose_numbers(sort_names: Sequence[str]) -> tuple[str, ...]:
    """The attributes to offer, of all that lists can be ordered by."""
    return tuple(name for name in sort_names if name != AVAILABLE_FROM)[:MOST_NUMBERS]


def build_sort_orders(
    sort_names: Sequence[str], facets: Mapping[str, Facet], search: FilteredSearch
) -> list[SortOrder]:
    """The orders of a search; none if there is only that of the engine.

    Args:
        sort_names: all that lists can be ordered by.
        facets: attribute -> its values in the results; one that all results share is no order.
        search: that the results are of.
    """
    values = [_NEWEST] if AVAILABLE_FROM in sort_names else []
    for name in choose_numbers(sort_names):
        if name in facets and _differs(facets[name]):
            values += [name, f"{DESCENDING}{name}"]
    if search.sort and search.sort not in values:
        values.append(search.sort)
    if not values:
        return []
    own = SortOrder("", "Best match" if search.text else "Recommended", not search.sort)
    return [own, *(SortOrder(value, _describe(value), value == search.sort) for value in values)]


def _differs(facet: Facet) -> bool:
    """Whether two results have different numbers."""
    return facet.least is not None and facet.least != facet.most


def _describe(value: str) -> str:
    if value in _LABELS:
        return _LABELS[value]
    name = value.removeprefix(DESCENDING).replace("_", " ").capitalize()
    return f"{name}, {'highest' if value.startswith(DESCENDING) else 'lowest'} first"
