"""Exact top-k over dense scores, with ties broken by a fixed pseudo-random order.

Breaking ties by item number would favour whatever the catalogue lists first (often the oldest and
most popular items); a seeded shuffle favours nothing and is the same on every run.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.item_list import ItemList


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
