"""Context matrix: the weight of each item in a query's context, shared by the simpler models.

If a query has source items (the item viewed, the cart), they replace the history and weigh 1 each.
Otherwise an event of the history that is s steps before the last one weighs ``decay ** s``. Older
events that were retrieved by relevance (``History.recalled``) do not decay with age: they all weigh
``decay ** RECALLED_STEPS``.

Shapes: B queries, N items, L events of a history, T distinct items of a context.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serendip.data import FloatArray, History, IntArray, Query, distinct
from serendip.models.linalg import Sparse, to_csr

_MIN_WEIGHT = 1e-4
"""Events with a smaller weight are left out: histories may have thousands of events."""

RECALLED_STEPS = 8
"""Age, in steps, that is used for events retrieved by relevance."""


def compute_context_weights(
    query: Query, num_items: int, decay: float
) -> tuple[IntArray, FloatArray]:
    """Distinct items (T,) int32 of a query's context, ascending, and their weights (T,) float32.

    Item numbers outside [0, num_items) are left out. An event weighs ``decay``, in (0, 1], of the
    next one. Both are empty for no context.
    """
    key = ("context", num_items, decay)
    found: Context | None = query.derived.get(key)
    if found is None:
        found = query.derived[key] = _weigh(query, num_items, decay)
    return found


def _weigh(query: Query, num_items: int, decay: float) -> Context:
    if len(query.source_items):
        in_catalogue = (query.source_items >= 0) & (query.source_items < num_items)
        items = distinct(query.source_items[in_catalogue]).astype(np.int32)
        return items, np.ones(len(items), dtype=np.float32)
    history = query.history.known(num_items)
    steps = np.arange(len(history) - 1, -1, -1, dtype=np.float64)  # (L,) age of each event
    steps[: history.recalled] = np.minimum(steps[: history.recalled], RECALLED_STEPS)
    weights = decay**steps  # (L,)
    counts = weights >= _MIN_WEIGHT  # (L,)
    weights = weights[counts]
    # A context has a few dozen events: a dictionary sums them faster than sorting does.
    sums: dict[int, float] = {}
    for item, weight in zip(history.item_nums[counts].tolist(), weights.tolist(), strict=True):
        sums[item] = sums.get(item, 0.0) + weight
    ordered = sorted(sums)
    found = [sums[item] for item in ordered]
    return np.array(ordered, np.int32), np.array(found, np.float32)


Context = tuple[IntArray, FloatArray]
"""Distinct items (T,) of a query's context, ascending, and their weights (T,)."""


def compute_contexts(queries: Sequence[Query], num_items: int, decay: float) -> list[Context]:
    """``compute_context_weights`` of each query."""
    return [compute_context_weights(query, num_items, decay) for query in queries]


def compute_growth_without(
    history: History, context: IntArray, left_out: IntArray, decay: float
) -> FloatArray:
    """Factors (M, T) by which the weights of a context (T,) grow if one of M items is left out of
    it.

    The items before it become newer by one step for each of its events; its own weight becomes 0.
    Exact for items with one event each; of an item with several, the newest one decides.
    """
    events = history.item_nums[history.recalled :]  # (L,) those that decay with age
    is_left_out = left_out[:, None] == events[None]  # (M, L)
    newer = is_left_out[:, ::-1].cumsum(1)[:, ::-1]  # (M, L) its events from this one on
    last = _last_places(events, context)  # (T,)
    steps = np.where(last >= 0, newer[:, last], 0)  # (M, T)
    growth = np.float32(decay) ** -steps.astype(np.float32)
    growth[left_out[:, None] == context[None]] = 0.0
    return growth


def _last_places(events: IntArray, context: IntArray) -> NDArray[np.intp]:
    """(T,) place of the newest event of each item; -1 = it has none."""
    is_of = context[:, None] == events[None]  # (T, L)
    places = len(events) - 1 - is_of[:, ::-1].argmax(1)
    return np.where(is_of.any(1), places, -1)


def build_context_matrix(queries: Sequence[Query], num_items: int, decay: float) -> Sparse:
    """Build a sparse (B, N) float32 matrix of the context weights of queries."""
    rows = compute_contexts(queries, num_items, decay)
    starts = np.cumsum([0, *(len(items) for items, _ in rows)], dtype=np.int32)  # (B + 1,)
    columns = np.concatenate([items for items, _ in rows])
    values = np.concatenate([weights for _, weights in rows])
    return to_csr((values, columns, starts), (len(queries), num_items))
