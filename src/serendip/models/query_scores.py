"""Scores of one model for a batch of queries, computed only for the items that are asked for.

Shapes: B queries, N items, R rows (query, item), C candidates of one query, V size of a vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from serendip.data import AllowedItems, Artefact, ItemSet, put_rows
from serendip.data.arrays import NO_ITEMS, BoolArray, FloatArray, IntArray, distinct, locate
from serendip.data.item_list import ItemList, tie_order, top_k
from serendip.models.vector_index import VectorIndex

_MOST_COMPARED = 2_000
"""Items of a small set that are all scored where too few of those near are in it."""

_MOST_EXCLUDED = 256
"""Excluded items of a search that are scored, too, to know the best of all items; with more of
them the index is searched for it, so that a long past costs no more."""

_MOST_LATE = 2_000
"""Late scores of a prior above which it is sorted again."""

_MANY_QUERIES, _FEW_ITEMS = 16, 20_000
"""From so many queries and up to so many items on, all pairs are scored at once."""

_SELECTIVE = 20
"""A set of less than one item in 20 has its own order of a prior."""


class QueryScores(ABC):
    """What one model says about B queries; a query's scores never depend on the other queries."""

    @abstractmethod
    def of_items(self, rows: IntArray, items: IntArray) -> FloatArray:
        """Scores (R,) float32 of pairs of a query and an item.

        Args:
            rows: (R,) positions of the queries, non-decreasing.
            items: (R,) item numbers in [0, N).
        """

    @abstractmethod
    def best(self) -> FloatArray:
        """(B,) float32 highest score of any item, allowed or not; that of the best item found by
        an approximate search.
        """

    @abstractmethod
    def top(self, k: int, allowed: Sequence[AllowedItems]) -> list[ItemList]:
        """The k best allowed items per query, best first, ties in the order of ``tie_order``.

        Items without evidence are left out, and so is everything if all items have one score: the
        "best" of them would be arbitrary.
        """


class DenseScores(QueryScores):
    """Scores (B, N) float32 of every item; if ``zero_means_unknown``, 0 is never proposed."""

    def __init__(self, scores: FloatArray, zero_means_unknown: bool) -> None:
        self._scores, self._zero_means_unknown = scores, zero_means_unknown

    def of_items(self, rows: IntArray, items: IntArray) -> FloatArray:
        """Entries of the array."""
        return self._scores[rows, items]

    def best(self) -> FloatArray:
        """The largest entry of each row; 0 without items."""
        if not self._scores.shape[1]:
            return np.zeros(len(self._scores), np.float32)
        highest: FloatArray = self._scores.max(1)
        return highest

    def top(self, k: int, allowed: Sequence[AllowedItems]) -> list[ItemList]:
        """The largest allowed entries of each row."""
        return [self._top(row, k, one) for row, one in zip(self._scores, allowed, strict=True)]

    def _top(self, scores: FloatArray, k: int, allowed: AllowedItems) -> ItemList:
        if len(scores) > 1 and scores.max() <= scores.min():
            return ItemList()
        usable = allowed.mask()  # (N,)
        if self._zero_means_unknown:
            usable &= scores != 0
        return top_k(np.where(usable, scores, -np.inf), k)


class PriorOrder(Artefact):
    """The same scores for every query, sorted once; late ones are compared one by one.

    Args:
        scores: (N,) float32.
        order: (n,) int32 items known when it was sorted, best first; None = sorted on first use.
        late: (L,) int32 items, ascending, whose scores came or changed since.
    """

    def __init__(
        self, scores: FloatArray, order: IntArray | None = None, late: IntArray = NO_ITEMS
    ) -> None:
        self.scores = scores
        self._order, self._late = order, late
        self._of_sets: WeakKeyDictionary[ItemSet, IntArray] = WeakKeyDictionary()

    def stored(self) -> dict[str, Any]:
        """The scores."""
        return {"scores": self.scores}

    def put(self, item_nums: IntArray, scores: FloatArray) -> PriorOrder:
        """A copy with other scores of items (M,), see ``LateRows.put``."""
        scores = put_rows(self.scores, item_nums, scores)
        late = distinct(np.concatenate([self._late, item_nums]))
        if self._order is None or len(late) > _MOST_LATE:
            return PriorOrder(scores)
        return PriorOrder(scores, self._order, late)

    @property
    def order(self) -> IntArray:
        """(n,) int32 items, best first, as of when it was sorted."""
        if self._order is None:
            ties = tie_order(len(self.scores))
            self._order = np.lexsort((ties, -self.scores)).astype(np.int32)
        return self._order

    @cached_property
    def best(self) -> float:
        """The highest score; 0 without items."""
        first = self.first(1, None)
        return float(self.scores[first][0]) if len(first) else 0.0

    @cached_property
    def tells_apart(self) -> bool:
        """False if all items have one score."""
        ends = np.concatenate([self.order[-1:], self._late])
        return len(self.scores) < 2 or bool((self.scores[ends] < self.best).any())

    def first(self, k: int, allowed: AllowedItems | None) -> IntArray:
        """The k best allowed items, best first; None = all."""
        late, order = self._late, self.order
        if allowed is not None:
            late = late[allowed.admits(late)]
            if allowed.shared.count * _SELECTIVE < len(self.scores):
                order = self._order_of(allowed.shared)
        found, begin, size = [order[:0]], 0, max(1, 4 * k)
        while begin < len(order) and sum(map(len, found)) < k:
            part = order[begin : begin + size]
            kept = ~locate(self._late, part)[1] if len(self._late) else None
            if allowed is not None:
                admitted = allowed.admits(part)
                kept = admitted if kept is None else kept & admitted
            found.append(part if kept is None else part[kept])
            begin, size = begin + size, 2 * size
        items = np.concatenate(found)[:k]
        if not len(late):
            return items
        items = np.concatenate([items, late])
        return _best_of(items, self.scores[items], k, len(self.scores)).item_nums

    def _order_of(self, items: ItemSet) -> IntArray:
        """Items of a small set, best first."""
        order = self._of_sets.get(items)
        if order is None:
            self._of_sets[items] = order = self.order[items.mask[self.order]]
        return order


class PriorScores(QueryScores):
    """Scores of B queries that do not depend on the query."""

    def __init__(self, order: PriorOrder, count: int) -> None:
        self._order, self._count = order, count

    def of_items(self, rows: IntArray, items: IntArray) -> FloatArray:
        """The scores of the items."""
        return self._order.scores[items]

    def best(self) -> FloatArray:
        """The highest score, B times."""
        return np.full(self._count, self._order.best, np.float32)

    def top(self, k: int, allowed: Sequence[AllowedItems]) -> list[ItemList]:
        """The first allowed items of the order."""
        if not self._order.tells_apart:
            return [ItemList() for _ in allowed]
        lists = [self._order.first(k, one) for one in allowed]
        return [ItemList.of_distinct(items, self._order.scores[items]) for items in lists]


class VectorScores(QueryScores):
    """Scores that are dot products: an index finds items, which are then scored exactly.

    One search per query serves ``top`` and, with the items that it leaves out, ``best``. Many
    queries of a small catalogue are multiplied with all items at once, which costs less than to
    collect the vectors of each query's items; searches find the same items.

    Args:
        queries: (B, V) float32 query vectors; a query without a vector (zeros) proposes nothing.
        score: (position of a query, items (C,)) -> their exact scores (C,) float32.
        score_all: exact scores (B, N) of all queries and items, 0 for a query without a vector.
    """

    def __init__(
        self,
        index: VectorIndex,
        queries: FloatArray,
        score: Callable[[int, IntArray], FloatArray],
        num_items: int,
        score_all: Callable[[], FloatArray],
    ) -> None:
        self._index, self._score, self._num_items = index, score, num_items
        self._reduced = index.reduce(queries)  # (B, D)
        self._is_known: BoolArray = np.asarray(queries.any(axis=1), np.bool_)  # (B,)
        self._found: dict[int, tuple[ItemList, IntArray]] = {}  # and what these lists leave out
        if len(queries) >= _MANY_QUERIES and num_items <= _FEW_ITEMS:
            scores = score_all()  # (B, N)
            self._score = lambda row, items: scores[row, items]

    def of_items(self, rows: IntArray, items: IntArray) -> FloatArray:
        """Exact scores."""
        result = np.zeros(len(rows), np.float32)
        for row, part in _parts(rows, len(self._is_known)):
            if self._is_known[row]:
                result[part] = self._score(row, items[part])
        return result

    def best(self) -> FloatArray:
        """The exact score of the best item found; 0 for a query without a vector."""
        best = np.zeros(len(self._is_known), np.float32)
        for row in np.flatnonzero(self._is_known).tolist():
            found, excluded = self._found.get(row) or (self._find(row, 1, None), NO_ITEMS)
            best[row] = np.append(self._score(row, excluded), found.scores[:1]).max()
        return best

    def top(self, k: int, allowed: Sequence[AllowedItems]) -> list[ItemList]:
        """The best allowed items that the index finds: k, if k are allowed."""
        lists = [self._find(row, min(k, one.count), one) for row, one in enumerate(allowed)]
        for row, (found, one) in enumerate(zip(lists, allowed, strict=True)):
            is_of_most = 2 * one.shared.count >= self._num_items
            if len(found) and is_of_most and len(one.excluded) <= _MOST_EXCLUDED:
                self._found[row] = found, one.excluded
        return lists

    def _find(self, row: int, k: int, allowed: AllowedItems | None) -> ItemList:
        if k < 1 or not self._is_known[row]:
            return ItemList()
        items = self._index.search(self._reduced[row], k, allowed)
        return _best_of(items, self._score(row, items), k, self._num_items)


class NeighbourScores(QueryScores):
    """Scores that are computed for the items that are asked for, and for those that may be best.

    Args:
        near: per query the items (C,) that may have the largest scores, ascending.
        score: (position of a query, items (C,)) -> their scores (C,) float32.
    """

    def __init__(
        self,
        near: Sequence[IntArray],
        score: Callable[[int, IntArray], FloatArray],
        num_items: int,
    ) -> None:
        self._near, self._score, self._num_items = near, score, num_items
        self._scores: list[FloatArray | None] = [None] * len(near)  # of ``near``

    @classmethod
    def of_rows(cls, rows: Sequence[tuple[IntArray, FloatArray]], num_items: int) -> Self:
        """Scores that are 0, "no evidence", for all but the items of each row, ascending."""

        def score(row: int, items: IntArray) -> FloatArray:
            known, scores = rows[row]
            places, found = locate(known, items)
            result = np.zeros(len(items), np.float32)
            result[found] = scores[places[found]]
            return result

        listed = cls([items for items, _ in rows], score, num_items)
        listed._scores = [scores for _, scores in rows]
        return listed

    def of_items(self, rows: IntArray, items: IntArray) -> FloatArray:
        """The score of each pair."""
        result = np.zeros(len(rows), np.float32)
        for row, part in _parts(rows, len(self._near)):
            result[part] = self._score(row, items[part])
        return result

    def best(self) -> FloatArray:
        """The largest score of the items that may have it; 0 without any."""
        scores = [self._of_near(row) for row in range(len(self._near))]
        return np.array([part.max() if len(part) else 0.0 for part in scores], np.float32)

    def top(self, k: int, allowed: Sequence[AllowedItems]) -> list[ItemList]:
        """The best allowed of the items that may be best, or of a small set all that are allowed.

        Items with a score of 0 or less are left out.
        """
        return [self._top(row, k, one) for row, one in enumerate(allowed)]

    def _top(self, row: int, k: int, allowed: AllowedItems) -> ItemList:
        items, scores = self._near[row], self._of_near(row)
        usable = allowed.admits_ascending(items)
        if usable.sum() < k and allowed.shared.count <= _MOST_COMPARED and len(items):
            items = allowed.shared.numbers
            scores, usable = self._score(row, items), allowed.admits_ascending(items)
        usable &= scores > 0
        return _best_of(items[usable], scores[usable], k, self._num_items)

    def _of_near(self, row: int) -> FloatArray:
        found = self._scores[row]
        if found is None:
            found = self._scores[row] = self._score(row, self._near[row])
        return found


def _parts(rows: IntArray, count: int) -> list[tuple[int, slice]]:
    """(position of a query, slice of its rows) of the queries that have rows."""
    if count == 1:
        return [(0, slice(0, len(rows)))] if len(rows) else []
    bounds = np.searchsorted(rows, np.arange(count + 1)).tolist()
    return [
        (row, slice(begin, end)) for row, (begin, end) in enumerate(pairwise(bounds)) if end > begin
    ]


def _best_of(items: IntArray, scores: FloatArray, k: int, num_items: int) -> ItemList:
    """The k best of some items (C,), best first; equal scores in the order of ``tie_order``."""
    if 0 < k < len(items):
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        usable: NDArray[np.intp] = np.flatnonzero(scores >= threshold)
        items, scores = items[usable], scores[usable]
    order = np.lexsort((tie_order(num_items)[items], -scores))[: max(k, 0)]
    return ItemList.of_distinct(items[order], scores[order])
