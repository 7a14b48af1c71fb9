"""One attribute of all items as arrays, so that a filter costs a few comparisons per request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from serendip.data.arrays import NO_ITEMS, BoolArray, IntArray, TimeArray

if TYPE_CHECKING:
    from serendip.data.item import Attribute


@dataclass(frozen=True, slots=True, eq=False)
class AttributeColumn:
    """What N items say in one attribute; upper and lower case are the same.

    Args:
        numbers: (N,) float64, NaN where the attribute is no number or is missing.
        words: text, folded -> (M,) int32 ascending items whose whole text it is.
        listed: word, folded -> (M,) int32 ascending items whose list has it.
    """

    numbers: TimeArray
    words: Mapping[str, IntArray]
    listed: Mapping[str, IntArray]

    @classmethod
    def of(cls, values: Iterable[Attribute | None]) -> Self:
        """From one value per item, None where an item has none."""
        numbers: list[float] = []
        words: dict[str, list[int]] = {}
        listed: dict[str, list[int]] = {}
        for number, value in enumerate(values):
            numbers.append(float(value) if isinstance(value, int | float) else np.nan)
            if isinstance(value, str):
                words.setdefault(value.casefold(), []).append(number)
            elif isinstance(value, tuple):
                for word in {word.casefold() for word in value}:
                    listed.setdefault(word, []).append(number)
        return cls(np.array(numbers, np.float64), _arrays(words), _arrays(listed))

    def equal(self, value: str | float) -> BoolArray:
        """(N,) True where the attribute is this text or this number."""
        if isinstance(value, str):
            return self._mask(self.words.get(value.casefold(), NO_ITEMS))
        equal: BoolArray = self.numbers == value
        return equal

    def having(self, word: str) -> BoolArray:
        """(N,) True where the list has this word; a text is a list of one."""
        folded = word.casefold()
        mask = self._mask(self.listed.get(folded, NO_ITEMS))
        mask[self.words.get(folded, NO_ITEMS)] = True
        return mask

    def within(self, least: float, most: float) -> BoolArray:
        """(N,) True where the attribute is a number of this range, both ends included."""
        inside: BoolArray = (self.numbers >= least) & (self.numbers <= most)
        return inside

    def _mask(self, items: IntArray) -> BoolArray:
        mask = np.zeros(len(self.numbers), np.bool_)
        mask[items] = True
        return mask


def _arrays(lists: Mapping[str, list[int]]) -> dict[str, IntArray]:
    return {word: np.array(items, np.int32) for word, items in lists.items()}
