"""Context matrix: the weight of each item in a request's context, shared by all untrained models.

Source items (the item looked at, the cart) replace the history if there are any and count 1 each;
the events of a history decay with every step between them and the last one. Older events that were
retrieved by relevance (``History.recalled``) do not decay with age: they have a fixed place among
the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.query import Query
from serendip.models.linalg import Sparse, csr

_NEGLIGIBLE = 1e-4
"""Older events than those with this weight are left out: histories may have thousands."""

RECALLED_STEPS = 8
"""Pulled in events count as if so many steps lay between them and the last one."""


def context_weights(
    query: Query, num_items: int, decay: float, like_weight: float = 1.0
) -> tuple[IntArray, FloatArray]:
    """Distinct items of one query's context and their weights.

    Args:
        query: a request; item numbers outside [0, num_items) are unknown and left out.
        num_items: N.
        decay: in (0, 1]; an event that is s steps before the last one weighs ``decay ** s``; one
            that was pulled in, ``decay ** RECALLED_STEPS``.
        like_weight: factor for events that count as likes.

    Returns:
        item numbers (T,) int32, ascending, and weights (T,) float32; both empty for no context.
    """
    if len(query.source_items):
        known = query.source_items[(query.source_items >= 0) & (query.source_items < num_items)]
        items = np.unique(known).astype(np.int32)
        return items, np.ones(len(items), dtype=np.float32)
    history = query.history.known(num_items)
    steps = np.arange(len(history) - 1, -1, -1, dtype=np.float64)
    steps[: history.recalled] = np.minimum(steps[: history.recalled], RECALLED_STEPS)
    weights = decay**steps
    counts = weights >= _NEGLIGIBLE
    weights = np.where(history.liked, like_weight, 1.0)[counts] * weights[counts]
    items, places = np.unique(history.item_nums[counts], return_inverse=True)
    summed = np.bincount(places, weights=weights, minlength=len(items))
    return items.astype(np.int32), summed.astype(np.float32)


def context_matrix(
    queries: Sequence[Query], num_items: int, decay: float, like_weight: float = 1.0
) -> Sparse:
    """``context_weights`` of B queries as a sparse (B, N) float32 matrix."""
    parts = [context_weights(query, num_items, decay, like_weight) for query in queries]
    starts = np.cumsum([0, *(len(items) for items, _ in parts)], dtype=np.int32)
    columns = np.concatenate([items for items, _ in parts])
    values = np.concatenate([weights for _, weights in parts])
    return csr((values, columns, starts), (len(queries), num_items))
