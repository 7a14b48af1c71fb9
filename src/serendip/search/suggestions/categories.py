"""Categories of a catalogue: the values of one attribute, most shared first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from serendip.data import BoolArray, Catalogue, Item, TimeArray

MOST = 100
_YES_NO = {"true", "false", "yes", "no"}


@dataclass(frozen=True)
class Categories:
    """C categories: the values of one attribute.

    Args:
        name: of the attribute; empty if no attribute of the catalogue is suitable.
        values: case-folded, at most 100.
    """

    name: str = ""
    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, catalogue: Catalogue, name: str = "") -> Self:
        """Build from the values of an attribute; without a name, of ``main_attribute``."""
        attribute = name or main_attribute(catalogue)
        if not attribute:
            return cls()
        sizes = catalogue.values(attribute).sizes()
        return cls(attribute, tuple(sorted(sizes, key=lambda text: (-sizes[text], text))[:MOST]))

    def __len__(self) -> int:
        return len(self.values)

    def of_item(self, item: Item) -> list[int]:
        """Numbers of an item's categories."""
        value = item.attributes.get(self.name, ())
        texts = value if isinstance(value, tuple) else (value,) if isinstance(value, str) else ()
        numbers = (self._numbers.get(text.casefold(), -1) for text in texts)
        return sorted({number for number in numbers if number >= 0})

    def among(self, items: Iterable[Item]) -> BoolArray:
        """(C,) bool, the categories that occur among some items."""
        mask = np.zeros(len(self), np.bool_)
        for item in items:
            mask[self.of_item(item)] = True
        return mask

    def matrix(self, catalogue: Catalogue) -> BoolArray:
        """(N, C) bool, the categories of each item."""
        rows = [self.among([item]) for item in catalogue.items]
        return np.array(rows, np.bool_).reshape(len(catalogue), len(self))

    def find_starts(self, catalogue: Catalogue, starts: TimeArray) -> TimeArray:
        """(C,) when the first item of each category appeared; infinite = none has.

        Args:
            catalogue: N items.
            starts: (N,) Unix seconds.
        """
        of_categories = np.where(self.matrix(catalogue), starts[:, None], np.inf)  # (N, C)
        first: TimeArray = of_categories.min(axis=0, initial=np.inf)
        return first

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {value: number for number, value in enumerate(self.values)}


def main_attribute(catalogue: Catalogue) -> str:
    """The text attribute with the fewest distinct values, among those that half the items have.

    Empty if there is none with two values or more and fewer than one per item. Yes and no are no
    categories.
    """
    best, fewest = "", len(catalogue)
    for name in catalogue.attribute_names:
        values = catalogue.values(name)
        num_values = len(values.sizes().keys() - _YES_NO)
        if 1 < num_values < fewest and 2 * values.has_value().sum() >= len(catalogue):
            best, fewest = name, num_values
    return best
