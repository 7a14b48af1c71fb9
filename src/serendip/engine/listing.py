"""What a caller asks of a whole list: its order by a number, and counts of the values in it.

Both read the list that the pages are cut from, of a thousand items or so. What an order puts first
in all that may be shown is found by ``matches.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data import Catalogue, IntArray, ItemList, TimeArray
from serendip.data.arrays import first_rows
from serendip.data.items.attribute_test import require_attributes, require_numbers

MOST_VALUES = 50  # of a facet, the most frequent ones
DESCENDING = "-"  # before the attribute of a sort: the largest number comes first
AVAILABLE_FROM = "available_from"  # the order by the time from which items may be shown


@dataclass(frozen=True, slots=True)
class Facet:
    """The values of one attribute in a list.

    Args:
        values: text -> number of items that have it, the most frequent ones first, at most 50; of
            numbers none.
        min: smallest of its numbers; None without any.
        max: largest of its numbers; None without any.
    """

    values: Mapping[str, int]
    min: float | None = None
    max: float | None = None


def sort_items(
    items: ItemList, sort: str, catalogue: Catalogue, most: int | None = None
) -> ItemList:
    """A list in the order of a number that its items have; those without it come last.

    ``sort`` is the name of the attribute or ``AVAILABLE_FROM``, ``-price`` for the largest first;
    empty = as it is, which also decides between equal numbers. The list ends at ``most`` items.

    Raises:
        DataError: the attribute is a number for no item.
    """
    if not sort:
        return items
    numbers = _numbers_of(items, sort.removeprefix(DESCENDING), catalogue)
    keys = -numbers if sort.startswith(DESCENDING) else numbers
    keys[np.isnan(keys)] = np.inf
    return items.take(first_rows(len(items) if most is None else most, keys))


def list_sort_names(catalogue: Catalogue, first: Sequence[str]) -> tuple[str, ...]:
    """What people may order lists by: the time of the items where any has one, then the attributes
    that are numbers, without ids and codes; attributes of ``first`` come before the others.
    """
    known = catalogue.attribute_names
    names = dict.fromkeys((*(name for name in first if name in known), *known))
    numbers = (
        name for name in names if not catalogue.is_code(name) and catalogue.column(name).has_numbers
    )
    return (*((AVAILABLE_FROM,) if catalogue.has_times else ()), *numbers)


def find_newest_order(catalogue: Catalogue) -> str:
    """The order by which the newest items come first; empty if none has a time or a year."""
    name = AVAILABLE_FROM if catalogue.has_times else find_year_attribute(catalogue)
    return name and DESCENDING + name


def find_year_attribute(catalogue: Catalogue) -> str:
    """The attribute that is the year of an item; empty if none is."""
    numbers = list_sort_names(catalogue, ())
    return next((name for name in numbers if "year" in name.casefold()), "")


def _numbers_of(items: ItemList, name: str, catalogue: Catalogue) -> TimeArray:
    if name == AVAILABLE_FROM and catalogue.has_times:
        times = catalogue.available_from[items.item_nums]
        return np.where(np.isfinite(times), times, np.nan)  # NaN = has none
    require_attributes([name], catalogue)
    require_numbers([name], catalogue)
    return catalogue.column(name).numbers_of(items.item_nums)


def count_facets(
    item_nums: IntArray, names: Sequence[str], catalogue: Catalogue
) -> Mapping[str, Facet]:
    """The facets of some items (C,), in the order of their names.

    Raises:
        DataError: no item has an attribute.
    """
    require_attributes(names, catalogue)
    return {name: _count(item_nums, name, catalogue) for name in names}


def _count(item_nums: IntArray, name: str, catalogue: Catalogue) -> Facet:
    column = catalogue.column(name)
    counts = column.count_words(item_nums)
    ordered = sorted(counts, key=lambda word: (-counts[word], word))[:MOST_VALUES]
    numbers = column.numbers_of(item_nums)
    numbers = numbers[np.isfinite(numbers)]
    ends = (float(numbers.min()), float(numbers.max())) if len(numbers) else (None, None)
    return Facet({word: counts[word] for word in ordered}, *ends)
