"""One list of several, by rank: scores of different sources need no common scale.

The answer is the same whatever the order of the lists; equal results follow the fixed order of
``data.item_list``.

Paper: Cormack, Clarke and Buettcher 2009, Reciprocal Rank Fusion outperforms Condorcet (SIGIR).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serendip.data.item_list import ItemList, tie_order
from serendip.errors import DataError

RANK_CONSTANT = 60


def reciprocal_rank_fusion(
    lists: Sequence[ItemList],
    num_items: int,
    weights: Sequence[float] | None = None,
    k: int = RANK_CONSTANT,
) -> ItemList:
    """Sum of ``weight / (k + rank)`` over the lists that hold an item; ranks start at 1.

    Args:
        lists: best first.
        num_items: N, all item numbers are below it.
        weights: one per list, >= 0; None = all 1.
        k: the constant of the formula; larger ones flatten the tops of the lists.

    Raises:
        DataError: weights and lists differ in number.
    """
    weights = [1.0] * len(lists) if weights is None else weights
    if len(weights) != len(lists):
        raise DataError(f"{len(weights)} weights for {len(lists)} lists.")
    if not lists:
        return ItemList()
    numbers = np.unique(np.concatenate([one.item_nums for one in lists]))
    gains = np.zeros((len(lists), len(numbers)))
    for row, (one, weight) in enumerate(zip(lists, weights, strict=True)):
        places = np.searchsorted(numbers, one.item_nums)
        gains[row, places] = weight / (k + 1.0 + np.arange(len(one)))
    # Sorting makes the sum independent of the order of the lists, to the last bit.
    scores = np.sort(gains, axis=0).sum(axis=0).astype(np.float32)
    order = np.lexsort((tie_order(num_items)[numbers], -scores))
    return ItemList(numbers[order].astype(np.int32), scores[order])
