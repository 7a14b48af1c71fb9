"""Items that may be shown: a set that many requests share, without a few items of one request.

An ``ItemSet`` has the catalogue's length and is built once, by a filter of the settings; its
intersections with other sets are kept. ``AllowedItems`` adds the few items that one request leaves
out, so that a request makes no array of the catalogue's length.

Shapes: N items, M items of a set, E items left out, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, BoolArray, IntArray, are_within, distinct, locate


class ItemSet:
    """An immutable set of item numbers, in the forms that searches need; equal only to itself.

    Args:
        mask: (N,) bool, True = in the set.
        is_lasting: whether it is worth keeping much for it; False = one of a request's own filters.
    """

    def __init__(self, mask: BoolArray, is_lasting: bool = True) -> None:
        self.mask, self.is_lasting = mask, is_lasting
        self._intersections: WeakKeyDictionary[ItemSet, ItemSet] = WeakKeyDictionary()

    @classmethod
    def all(cls, num_items: int) -> Self:
        """The set of all N items."""
        return cls(np.ones(num_items, np.bool_))

    @property
    def num_items(self) -> int:
        """N, the length of the catalogue."""
        return len(self.mask)

    @cached_property
    def count(self) -> int:
        """M, the number of items in the set."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def is_whole(self) -> bool:
        """Whether all N items are in the set."""
        return self.count == self.num_items

    @cached_property
    def numbers(self) -> IntArray:
        """(M,) int32 items of the set, ascending."""
        return np.flatnonzero(self.mask).astype(np.int32)

    @cached_property
    def bits(self) -> NDArray[np.uint8]:
        """(ceil(N / 8),) the set as a bitmap, lowest bit first."""
        return np.packbits(self.mask, bitorder="little")

    def intersection(self, other: ItemSet) -> ItemSet:
        """Items of both sets; computed once for each pair of sets that live."""
        if other is self or other.is_whole:
            return self
        if self.is_whole:
            return other
        found = self._intersections.get(other)
        if found is None:
            is_lasting = self.is_lasting and other.is_lasting
            found = ItemSet(self.mask & other.mask, is_lasting)
            self._intersections[other] = found
        return found


@dataclass(frozen=True, slots=True, eq=False)
class AllowedItems:
    """Items that may be shown for one query.

    Args:
        shared: set that does not depend on the query alone.
        excluded: (E,) int32 items of ``shared`` that the query leaves out, ascending, unique.
    """

    shared: ItemSet
    excluded: IntArray = field(default_factory=lambda: NO_ITEMS)

    @classmethod
    def all(cls, num_items: int) -> Self:
        """All N items."""
        return cls(ItemSet.all(num_items))

    @property
    def count(self) -> int:
        """Number of items that may be shown."""
        return self.shared.count - len(self.excluded)

    def within(self, items: ItemSet) -> AllowedItems:
        """Only those in a set."""
        shared = self.shared.intersection(items)
        if shared is self.shared:
            return self
        return AllowedItems(shared, self.excluded[shared.mask[self.excluded]])

    def without(self, item_nums: IntArray) -> AllowedItems:
        """All but some items; numbers outside [0, N) are passed over."""
        return self.without_ascending(distinct(item_nums)) if len(item_nums) else self

    def without_ascending(self, item_nums: IntArray) -> AllowedItems:
        """``without`` of ascending, distinct numbers, which need not be sorted."""
        inside = item_nums
        if not are_within(inside, self.shared.num_items):
            inside = inside[(inside >= 0) & (inside < self.shared.num_items)]
        if not self.shared.is_whole:
            inside = inside[self.shared.mask[inside]]
        if not len(inside):
            return self
        if len(self.excluded):
            inside = distinct(np.concatenate([self.excluded, inside]))
        return AllowedItems(self.shared, inside.astype(np.int32, copy=False))

    def admits(self, item_nums: IntArray) -> BoolArray:
        """Which of some items (C,), all in [0, N), may be shown."""
        is_allowed: BoolArray
        if not len(self.excluded):
            is_allowed = self.shared.mask[item_nums]
            return is_allowed
        is_allowed = ~locate(self.excluded, item_nums)[1]
        if not self.shared.is_whole:
            is_allowed &= self.shared.mask[item_nums]
        return is_allowed

    def admits_ascending(self, item_nums: IntArray) -> BoolArray:
        """``admits`` for ascending items (C,), which is faster for many items."""
        if len(self.excluded) > len(item_nums):
            return self.admits(item_nums)
        is_allowed: BoolArray = self.shared.mask[item_nums]  # a copy
        positions, is_there = locate(item_nums, self.excluded)
        is_allowed[positions[is_there]] = False
        return is_allowed

    def __contains__(self, item_num: object) -> bool:
        """Whether one item may be shown; numbers outside [0, N) may not."""
        number = np.array([item_num], np.int32)
        return 0 <= int(number[0]) < self.shared.num_items and bool(self.admits(number)[0])

    def numbers(self) -> IntArray:
        """(M,) int32 items that may be shown, ascending."""
        numbers = self.shared.numbers
        return numbers[self.admits_ascending(numbers)] if len(self.excluded) else numbers

    def mask(self) -> BoolArray:
        """(N,) bool, a copy: for models that score every item."""
        mask = self.shared.mask.copy()
        mask[self.excluded] = False
        return mask
