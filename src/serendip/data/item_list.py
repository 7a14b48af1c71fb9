"""The one currency of answers: item numbers with scores and named fields.

Higher scores are better; NaN means "cannot score" and sorts last. Order is meaningful.
Filters split a list into kept and removed, so that nothing disappears without a trace.

Exact top-k over dense scores, with ties broken by a fixed pseudo-random order.

Breaking ties by item number would favour whatever the catalogue lists first (often the oldest and
most popular items); a seeded shuffle favours nothing and is the same on every run.
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
        scores: (C,) float32, higher is better, NaN where a score cannot be given.
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
        if len(np.unique(self.item_nums)) != count:
            raise DataError("an item appears twice in an item list.", "Merge its rows first.")

    @classmethod
    def of(
        cls, item_nums: Sequence[int] | IntArray, scores: Sequence[float] | FloatArray
    ) -> ItemList:
        """Build from plain sequences."""
        return cls(np.asarray(item_nums, dtype=np.int32), np.asarray(scores, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.item_nums)

    def take(self, rows: NDArray[np.intp]) -> ItemList:
        """Rows by position, in the order given."""
        columns = {name: column[rows] for name, column in self.fields.items()}
        return ItemList(self.item_nums[rows], self.scores[rows], columns)

    def sorted(self) -> ItemList:
        """By score, highest first; NaN last; equal scores keep their order."""
        keys = np.where(np.isnan(self.scores), -np.inf, self.scores)
        return self.take(np.argsort(-keys, kind="stable"))

    def top(self, k: int) -> ItemList:
        """The k best by score.

        Raises:
            DataError: k is negative.
        """
        if k < 0:
            raise DataError(f"k = {k} is negative.", "Ask for 1 item or more.")
        best = self.sorted()
        return best.take(np.arange(min(k, len(best))))

    def split(self, keep: BoolArray) -> tuple[ItemList, ItemList]:
        """(kept, removed): together exactly this list, each in its order."""
        return self.take(np.flatnonzero(keep)), self.take(np.flatnonzero(~keep))


@lru_cache(maxsize=8)
def tie_order(num_items: int) -> IntArray:
    """(N,) a fixed permutation: among equal scores the item with the smaller value comes first."""
    return np.random.default_rng(20_26).permutation(num_items).astype(np.int32)


def top_k(scores: FloatArray, k: int) -> ItemList:
    """The k best of one row of scores.

    Args:
        scores: (N,) float32; NaN and -inf mean "must not be returned".
        k: at most this many items, fewer where fewer have a score; none for 0 or less.

    Returns:
        items by score, highest first.
    """
    usable = np.flatnonzero(scores > -np.inf)
    if 0 < k < len(usable):
        threshold = np.partition(scores[usable], len(usable) - k)[len(usable) - k]
        usable = usable[scores[usable] >= threshold]
    order = np.lexsort((tie_order(len(scores))[usable], -scores[usable]))[: max(k, 0)]
    best = usable[order]
    return ItemList(best.astype(np.int32), scores[best].astype(np.float32))
