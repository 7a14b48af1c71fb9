"""Categories of a catalogue: the values of one attribute, most shared first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from serendip.data import Artefact, BoolArray, Catalogue, IntArray, TimeArray
from serendip.files.names import is_called

MOST = 100
_YES_NO = {"true", "false", "yes", "no"}


@dataclass(frozen=True)
class Categories(Artefact):
    """C categories: the values of one attribute, case-folded, at most 100.

    The name is empty if no attribute of the catalogue is suitable.
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

    def of_items(self, catalogue: Catalogue, items: IntArray) -> list[list[int]]:
        """Numbers of the categories of each of some items."""
        words = catalogue.column(self.name).words_of(items) if self.name else [()] * len(items)
        return [self._find(some) for some in words]

    def among(self, catalogue: Catalogue, items: IntArray) -> BoolArray:
        """(C,) bool, the categories that occur among some items."""
        mask = np.zeros(len(self), np.bool_)
        if self.name:
            mask[self._find(catalogue.column(self.name).count_words(items))] = True
        return mask

    def matrix(self, catalogue: Catalogue) -> BoolArray:
        """(N, C) bool, the categories of each item."""
        masks = [catalogue.column(self.name).having(value) for value in self.values]
        return np.array(masks, np.bool_).reshape(len(self), len(catalogue)).T

    def _find(self, words: Iterable[str]) -> list[int]:
        numbers = {self._numbers.get(word.casefold(), -1) for word in words}
        return sorted(numbers - {-1})

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
    """The text attribute that is called a category and whose values items share, else the one with
    the fewest distinct values, among those that half the items have.

    Empty if there is none with two values or more and fewer than one per item. Yes and no are no
    categories.
    """
    sizes = {}
    for name in catalogue.attribute_names:
        values = catalogue.values(name)
        num_values = len(values.sizes().keys() - _YES_NO)
        if 1 < num_values < len(catalogue) and 2 * values.has_value().sum() >= len(catalogue):
            sizes[name] = num_values

    def rank(name: str) -> tuple[bool, int]:
        is_category = is_called(name, "category") and 2 * sizes[name] <= len(catalogue)
        return not is_category, sizes[name]

    return min(sizes, key=rank, default="")
