"""Reciprocal rank fusion: merges ranked lists whose scores have no common scale.

The result does not depend on the order of the lists; ties follow the fixed order of
``data.item_list``.

Paper: Cormack, Clarke and Buettcher 2009, Reciprocal Rank Fusion outperforms Condorcet (SIGIR).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serendip.data.item_list import ItemList, tie_order

RANK_CONSTANT = 60
"""A larger one would reduce the weight of the top ranks."""


def reciprocal_rank_fusion(lists: Sequence[ItemList], num_items: int) -> ItemList:
    """Score each item by the sum of ``1 / (60 + rank)`` over its lists; ranks start at 1."""
    if not lists:
        return ItemList()
    numbers = np.unique(np.concatenate([ranked.item_nums for ranked in lists]))
    gains = np.zeros((len(lists), len(numbers)))
    for row, ranked in enumerate(lists):
        columns = np.searchsorted(numbers, ranked.item_nums)
        gains[row, columns] = 1.0 / (RANK_CONSTANT + 1.0 + np.arange(len(ranked)))
    # Sorting makes the sum independent of the order of the lists, to the last bit.
    scores = np.sort(gains, axis=0).sum(axis=0).astype(np.float32)
    order = np.lexsort((tie_order(num_items)[numbers], -scores))
    return ItemList(numbers[order].astype(np.int32), scores[order])
