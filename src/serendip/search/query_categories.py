"""Categories of results: the values of one attribute, most shared first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.item import Catalogue, Item

MOST = 100


@dataclass(frozen=True)
class Categories:
    """C categories.

    Args:
        name: of the attribute; empty where a catalogue has none to tell items apart.
        values: folded, at most 100.
    """

    name: str = ""
    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, catalogue: Catalogue, name: str = "") -> Self:
        """The values of an attribute; without a name that of ``main_attribute``."""
        chosen = name or main_attribute(catalogue)
        if not chosen:
            return cls()
        column = catalogue.column(chosen)
        sizes = {value: len(items) for value, items in {**column.words, **column.listed}.items()}
        return cls(chosen, tuple(sorted(sizes, key=lambda one: (-sizes[one], one))[:MOST]))

    def __len__(self) -> int:
        return len(self.values)

    def of_item(self, item: Item) -> list[int]:
        """Numbers of an item's categories."""
        value = item.attributes.get(self.name, ())
        listed = value if isinstance(value, tuple) else (value,) if isinstance(value, str) else ()
        numbers = (self._numbers.get(one.casefold(), -1) for one in listed)
        return sorted({number for number in numbers if number >= 0})

    def among(self, items: Iterable[Item]) -> BoolArray:
        """(C,) which of them some items have."""
        found = np.zeros(len(self), np.bool_)
        for item in items:
            found[self.of_item(item)] = True
        return found

    def matrix(self, catalogue: Catalogue) -> BoolArray:
        """(N, C) bool, which of them each item has."""
        found = np.zeros((len(catalogue), len(self)), np.bool_)
        for number, item in enumerate(catalogue.items):
            found[number, self.of_item(item)] = True
        return found

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {value: number for number, value in enumerate(self.values)}


def main_attribute(catalogue: Catalogue) -> str:
    """The attribute of text with the fewest different values, of those that half the items have.

    Empty where there is none with two values or more, some of them shared.
    """
    best, fewest = "", len(catalogue)
    for name in dict.fromkeys(name for item in catalogue.items for name in item.attributes):
        column = catalogue.column(name)
        values = {**column.words, **column.listed}
        having = np.zeros(len(catalogue), np.bool_)
        for items in values.values():
            having[items] = True
        if 1 < len(values) < fewest and 2 * having.sum() >= len(catalogue):
            best, fewest = name, len(values)
    return best
