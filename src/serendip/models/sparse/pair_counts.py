"""Weighted counts of the pairs of items that stand near one another in histories.

``C[i, j]`` sums, over all events with i and all events with j of the same history, a weight that
depends on how many positions j stands after or before i, times the strength of the event with j. As
a product, ``C = A^T W A``: ``A`` (E, N) has a 1 where an event has an item, and ``W`` (E, E) the
weights of the 2 G events around each event. A block of rows of C needs only the events of its
items, so that memory depends on the size of a block and on the entries that are kept, not on the
number of pairs. Many blocks are computed in tasks of an executor (``row_tasks``).

Shapes: E events, N items, G gaps, O offsets, R items of a block, F events of a block, P their
pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data import FloatArray, IntArray, TimeArray
from serendip.models.linalg import Sparse, multiply_top, split_rows, to_csr
from serendip.models.sparse.row_tasks import Parts, compute_rows
from serendip.runtime.progress import TrainOptions

Rows = NDArray[np.intp]
"""Positions of events in the log, ordered by user."""

PAIRS_PER_BLOCK = 4_000_000
"""Bounds memory: about 50 bytes per pair of a block. One item is never divided between blocks."""


class PairCounter:
    """Counts pairs of different items at 1 to G positions' distance in a history.

    Args:
        users: (E,) user of each event, in any order.
        items: (E,) item of each event; a user's rows from old to new.
        num_items: N.
        forward: (G,) weights of j at 1, 2, ... positions after i.
        backward: (G,) weights of j at 1, 2, ... positions before i.
        strengths: (E,) factor of the event with j, the one that is foretold; None = 1 for all.
    """

    def __init__(
        self,
        users: IntArray,
        items: IntArray,
        num_items: int,
        forward: FloatArray,
        backward: FloatArray,
        strengths: FloatArray | None = None,
    ) -> None:
        order = np.argsort(users, kind="stable")
        self._users, self._items = users[order], items[order].astype(np.int32)
        self._strengths = None if strengths is None else strengths[order].astype(np.float32)
        self._num_items = num_items
        self._forward, self._backward = forward, backward
        gaps = np.arange(1, len(forward) + 1, dtype=np.int32)
        weights = np.concatenate([forward, backward]).astype(np.float32)  # (2 G,)
        # Events of a history are [begin, end); (E,) each.
        changes = np.flatnonzero(np.diff(self._users)) + 1
        bounds = np.concatenate([[0], changes, [len(items)]]).astype(np.int32)
        lengths = np.diff(bounds)
        counts = np.bincount(self._items, minlength=num_items)
        self._arrays: dict[str, NDArray[Any]] = {
            "items": self._items,
            "begin": np.repeat(bounds[:-1], lengths),
            "end": np.repeat(bounds[1:], lengths),
            "by_item": np.argsort(self._items, kind="stable").astype(np.int32),  # (E,)
            "starts": np.concatenate([[0], np.cumsum(counts)]),  # (N + 1,) in by_item
            "offsets": np.concatenate([gaps, -gaps])[weights != 0],
            "weights": weights[weights != 0],
        }
        if self._strengths is not None:
            self._arrays["strengths"] = self._strengths

    def sums(self) -> tuple[FloatArray, FloatArray]:
        """Row sums and column sums (N,) of the counts, without the counts."""
        rows, columns = np.zeros((2, self._num_items))
        for gap in range(1, len(self._forward) + 1):
            same = self._users[:-gap] == self._users[gap:]
            kept = np.flatnonzero(same & (self._items[:-gap] != self._items[gap:]))
            early, late = kept, kept + gap  # (P,) each
            forward, backward = self._forward[gap - 1], self._backward[gap - 1]
            rows += forward * self._sum(early, late) + backward * self._sum(late, early)
            columns += forward * self._sum(late, late) + backward * self._sum(early, early)
        return rows.astype(np.float32), columns.astype(np.float32)

    def _sum(self, events: Rows, foretold: Rows) -> TimeArray:
        """(N,) strengths of the foretold events (P,), summed by the item of other events (P,)."""
        strengths = None if self._strengths is None else self._strengths[foretold]
        return np.bincount(self._items[events], strengths, self._num_items).astype(np.float64)

    def count(self, options: TrainOptions | None = None) -> Sparse:
        """All counts (N, N); zeros on the diagonal."""
        ones = np.ones(self._num_items, np.float32)
        return self.count_top(ones, ones, 0, options)

    def count_top(
        self,
        row_factors: FloatArray,
        column_factors: FloatArray,
        most: int,
        options: TrainOptions | None = None,
    ) -> Sparse:
        """The ``most`` largest entries of each row of the scaled counts (N, N); 0 = all.

        Row i is multiplied by entry i of the row factors (N,), column j by entry j of the column
        factors (N,); all are positive.
        """
        factors = {"row_factors": row_factors, "column_factors": column_factors}
        parts: dict[str, Any] = {**self._arrays, **factors, "most": most}
        pairs = np.diff(parts["starts"]) * len(parts["offsets"])  # (N,)
        sizes = np.maximum(pairs, min(most, int(pairs.max(initial=0))))
        blocks = split_rows(sizes, PAIRS_PER_BLOCK)
        return compute_rows(count_rows, parts, blocks, "Counting pairs", options or TrainOptions())


def count_rows(parts: Parts, rows: slice) -> Sparse:
    """A block of scaled counts (R, N): the product of (R, F) and (F, N) with its F events.

    Args:
        parts: ``items``, ``begin``, ``end`` (E,): of the events, ordered by user, the item and the
            bounds of the history; ``by_item`` (E,) their positions by item, ``starts`` (N + 1,) in
            it; ``offsets`` and ``weights`` (O,) of the positions around an event;
            ``row_factors``, ``column_factors`` (N,); ``most``, entries kept per row, 0 = all;
            and (E,) ``strengths``, if there are any.
        rows: of the block.
    """
    starts = parts["starts"][rows.start : rows.stop + 1]  # (R + 1,)
    positions = parts["by_item"][starts[0] : starts[-1]]  # (F,)
    lengths = np.diff(starts)
    factors = np.repeat(parts["row_factors"][rows], lengths)
    columns = np.arange(len(positions), dtype=np.int32)
    shape = (len(lengths), len(positions))
    events = to_csr((factors, columns, (starts - starts[0]).astype(np.int32)), shape)
    around, most = _weigh_around(parts, positions), int(parts["most"])
    if most:
        return multiply_top(events, around, most)
    block = to_csr(events @ around)
    block.sort_indices()
    return block


def _weigh_around(parts: Parts, positions: IntArray) -> Sparse:
    """Weights (F, N) of the items around each of these events (F,)."""
    items, own = parts["items"], positions[:, None]  # (F, 1)
    around = own + parts["offsets"]  # (F, O)
    is_inside = (around >= parts["begin"][own]) & (around < parts["end"][own])
    # What is outside of the history becomes the event itself, which is no pair.
    others = items[np.where(is_inside, around, own)]
    is_pair = others != items[own]
    columns = others[is_pair]  # (P,)
    weights = np.broadcast_to(parts["weights"], is_pair.shape)[is_pair]
    weights = weights * parts["column_factors"][columns]
    if "strengths" in parts:
        weights = weights * parts["strengths"][around[is_pair]]
    starts = np.zeros(len(positions) + 1, np.int32)
    np.cumsum(np.count_nonzero(is_pair, axis=1), out=starts[1:])
    return to_csr((weights, columns, starts), (len(positions), len(parts["row_factors"])))
