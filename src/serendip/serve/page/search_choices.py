"""What a search of the page offers to choose: values to filter by, and orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serendip.engine.listing import AVAILABLE_FROM, DESCENDING, Facet
from serendip.serve.page.params import PageQuery

ASKED = 6
"""Attributes of the catalogue that are counted, and numbers to order by."""

_MOST_GROUPS = 2
_MOST_LINKS = 8
_MOST_CHARS = 30
"""Characters of a value; longer ones are texts and no words to choose by."""
_LEAST_SHARED = 2.0
"""Mean number of results of a value from which on an attribute is worth choosing by."""

_NEWEST = f"{DESCENDING}{AVAILABLE_FROM}"
_LABELS = {_NEWEST: "Newest first", AVAILABLE_FROM: "Oldest first"}


def choose_facets(facets: Mapping[str, Facet], query: PageQuery) -> dict[str, list[str]]:
    """Attribute -> values to show: what the search filters by, then what its results share.

    Filters that are no value of an attribute, as written, are those of the empty name.

    Args:
        facets: attribute -> its values in the results.
        query: the search that the results are of.
    """
    tests = {name: f"{name}=" for name in facets}
    picked = {
        name: [one.removeprefix(test) for one in query.filter if one.startswith(test)]
        for name, test in tests.items()
    }
    others = [one for one in query.filter if not one.startswith(tuple(tests.values()))]
    groups = {"": others} if others else {}
    groups |= {
        name: _add_frequent(facets[name], values) for name, values in picked.items() if values
    }
    shared = [name for name in facets if not picked[name] and _is_shared(facets[name])]
    free = max(_MOST_GROUPS - len(groups), 0)
    return groups | {name: _add_frequent(facets[name], []) for name in shared[:free]}


def _add_frequent(facet: Facet, picked: list[str]) -> list[str]:
    """The chosen values of an attribute, then the most frequent others."""
    values = [*picked, *(one for one in facet.values if _is_word(one) and one not in picked)]
    return values[: max(_MOST_LINKS, len(picked))]


def _is_shared(facet: Facet) -> bool:
    """Whether an attribute is worth choosing by: two values or more, each of several results."""
    counts = [count for value, count in facet.values.items() if _is_word(value)]
    return len(counts) > 1 and sum(counts) >= _LEAST_SHARED * len(counts)


def _is_word(value: str) -> bool:
    return len(value) <= _MOST_CHARS and "://" not in value and "|" not in value


def choose_numbers(sort_names: Sequence[str]) -> tuple[str, ...]:
    """The attributes to order by that are offered, of all that lists can be ordered by."""
    return tuple(name for name in sort_names if name != AVAILABLE_FROM)[:ASKED]


def choose_orders(
    sort_names: Sequence[str], facets: Mapping[str, Facet], query: PageQuery
) -> dict[str, str]:
    """The orders of a search, as the engine reads them -> as shown; none if there is only its own.

    Args:
        sort_names: all that lists can be ordered by.
        facets: attribute -> its values in the results; one that all results share is no order.
        query: the search that the results are of.
    """
    values = [_NEWEST] if AVAILABLE_FROM in sort_names else []
    for name in choose_numbers(sort_names):
        if name in facets and facets[name].least != facets[name].most:
            values += [name, f"{DESCENDING}{name}"]
    if query.sort and query.sort not in values:
        values.append(query.sort)
    own = {"": "Best match" if query.q.strip() else "Recommended"} if values else {}
    return own | {value: _describe(value) for value in values}


def _describe(value: str) -> str:
    if value in _LABELS:
        return _LABELS[value]
    name = value.removeprefix(DESCENDING).replace("_", " ").capitalize()
    return f"{name}, {'highest' if value.startswith(DESCENDING) else 'lowest'} first"
