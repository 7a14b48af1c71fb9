"""``ItemList``, a ranked list of item numbers with scores and named columns, and exact top-k.

Every stage of an answer exchanges item lists. Higher scores are better; NaN means "cannot score"
and sorts last. The order is meaningful. Filters split a list into kept and removed, so that no item
disappears untraced.

``top_k`` breaks ties by a fixed pseudo-random order. Item numbers would favour the beginning of
the catalogue (often the oldest and most popular items); a seeded shuffle favours nothing and is
the same in every run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, BoolArray, FloatArray, IntArray
from serendip.errors import DataError

Column = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class ItemList:
    """Items with scores.

    Args:
        item_nums: (C,) int32 item numbers, no duplicates.
        scores: (C,) float32, higher is better, NaN = cannot be scored.
        fields: named columns of length C, e.g. scores of single sources.

    Raises:
        DataError: lengths differ or an item appears twice.
    """

    item_nums: IntArray = field(default_factory=lambda: NO_ITEMS)
    scores: FloatArray = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    fields: Mapping[str, Column] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.item_nums)
        for name, column in (("scores", self.scores), *self.fields.items()):
            if len(column) != count:
                raise DataError(f"column {name!r} has {len(column)} values for {count} items.")
        ordered = np.sort(self.item_nums)
        if (ordered[1:] == ordered[:-1]).any():
            raise DataError("an item appears twice in an item list.", "Merge its rows first.")

    @classmethod
    def of(
        cls, item_nums: Sequence[int] | IntArray, scores: Sequence[float] | FloatArray
    ) -> ItemList:
        """Build from plain sequences."""
        return cls(np.asarray(item_nums, dtype=np.int32), np.asarray(scores, dtype=np.float32))

    @classmethod
    def of_distinct(
        cls, item_nums: IntArray, scores: FloatArray, fields: Mapping[str, Column] | None = None
    ) -> ItemList:
        """Build from distinct items and columns of one length, which are not checked again."""
        items = cls.__new__(cls)
        object.__setattr__(items, "item_nums", item_nums)
        object.__setattr__(items, "scores", scores)
        object.__setattr__(items, "fields", {} if fields is None else fields)
        return items

    def __len__(self) -> int:
        return len(self.item_nums)

    def take(self, rows: NDArray[np.intp] | slice) -> ItemList:
        """Select distinct rows by position, in this order."""
        columns = {name: column[rows] for name, column in self.fields.items()}
        return ItemList.of_distinct(self.item_nums[rows], self.scores[rows], columns)

    def sorted(self) -> ItemList:
        """Sort by score, highest first, NaN last; stable."""
        keys = np.where(np.isnan(self.scores), -np.inf, self.scores)
        return self.take(np.argsort(-keys, kind="stable"))

    def top(self, k: int) -> ItemList:
        """The k best by score; a negative k is a ``DataError``."""
        if k < 0:
            raise DataError(f"k = {k} is negative.", "Request 1 item or more.")
        best = self.sorted()
        return best.take(np.arange(min(k, len(best))))

    def split(self, keep: BoolArray) -> tuple[ItemList, ItemList]:
        """Partition into (kept, removed), both in the order of this list."""
        return self.take(np.flatnonzero(keep)), self.take(np.flatnonzero(~keep))


def tie_order(num_items: int) -> IntArray:
    """(N,) fixed random numbers, all different; ties go to the item with the smaller one.

    It is drawn for the next power of two, so that new items seldom need a new one.
    """
    return _draw_order(1 << max(num_items - 1, 0).bit_length())[:num_items]


@lru_cache(maxsize=8)
def _draw_order(size: int) -> IntArray:
    return np.random.default_rng(20_26).permutation(size).astype(np.int32)


def top_k(scores: FloatArray, k: int) -> ItemList:
    """The k items with the highest scores (N,), highest first; NaN or -inf is never returned."""
    usable = np.flatnonzero(scores > -np.inf)
    if 0 < k < len(usable):
        threshold = np.partition(scores[usable], len(usable) - k)[len(usable) - k]
        usable = usable[scores[usable] >= threshold]
    order = np.lexsort((tie_order(len(scores))[usable], -scores[usable]))[: max(k, 0)]
    best = usable[order]
    return ItemList(best.astype(np.int32), scores[best].astype(np.float32))
