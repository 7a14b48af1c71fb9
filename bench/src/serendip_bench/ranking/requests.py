"""Requests with their targets, and metrics of the targets' ranks.

A row is one target of one request. With r its rank among all items (ties count half) and g its
gain, over the targets of a request::

    R@k = (relevant targets with r <= k) / (relevant targets)
    N@k = sum of g / log2(r + 1) where r <= k  /  the same sum of the best order

where relevant targets have a gain above 0. The value of a unit (a user, a tag, a conversation) is
the mean over its requests.

Shapes: T rows, U units, N items, B rows of a batch, k length of a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.item_list import top_k
from serendip.data.query import Query
from serendip.evaluate.intervals import per_user
from serendip.evaluate.metrics import NDCG, Recall
from serendip.evaluate.runs import PADDING, Groups, Values, ranks_from_scores

LABELS = ("R@5", "N@5", "R@10", "N@10", "R@100")
_METRICS = (Recall(5), NDCG(5), Recall(10), NDCG(10), Recall(100))
BATCH = 512


@dataclass(frozen=True, slots=True, eq=False)
class RequestSet:
    """Rows of requests.

    Args:
        queries: T requests; what each excludes is not ranked.
        items: (T,) int32 targets.
        units: (T,) what is averaged and resampled; one per request.
        requests: (T,) request of each row, in any order.
        gains: (T,) 0 or more; 0 = judged as irrelevant.
    """

    queries: list[Query]
    items: IntArray
    units: Groups
    requests: Groups
    gains: Values

    @classmethod
    def of(cls, queries: list[Query], items: Sequence[int], units: Sequence[int]) -> RequestSet:
        """Requests with one target each."""
        count = len(queries)
        targets, groups = np.array(items, np.int32), np.array(units, np.intp)
        return cls(queries, targets, groups, np.arange(count), np.ones(count))

    def where(self, mask: BoolArray) -> RequestSet:
        """The rows of a mask (T,)."""
        queries = [query for query, keep in zip(self.queries, mask, strict=True) if keep]
        return RequestSet(
            queries, self.items[mask], self.units[mask], self.requests[mask], self.gains[mask]
        )

    def with_queries(self, change: Callable[[Query], Query]) -> RequestSet:
        """The same targets of changed requests."""
        return replace(self, queries=[change(query) for query in self.queries])

    def rank(
        self, score: Callable[[Sequence[Query]], FloatArray], k: int = 0
    ) -> tuple[Values, IntArray]:
        """Ranks (T,) of the targets, and the first k items (T, k) of each row, padded with -1.

        Args:
            score: requests -> scores (B, N) of all items.
            k: length of the lists.
        """
        ranks = np.empty(len(self.items))
        lists = np.full((len(self.items), k), PADDING, np.int32)
        for begin in range(0, len(self.items), BATCH):
            rows = slice(begin, begin + BATCH)
            excluded = [query.exclude for query in self.queries[rows]]
            scores = score(self.queries[rows])
            ranks[rows] = ranks_from_scores(scores, self.items[rows], excluded)
            for row, row_scores in enumerate(scores if k else ()):
                allowed = row_scores.copy()  # (N,)
                allowed[excluded[row]] = -np.inf
                best = top_k(allowed, k).item_nums
                lists[begin + row, : len(best)] = best
        return ranks, lists

    def measure(self, ranks: Values) -> tuple[Groups, Values]:
        """Units (U,) and the metrics of ``LABELS`` (U, 5) of each, from the ranks (T,)."""
        requests = np.unique(self.requests, return_inverse=True)[1]
        is_relevant, best = (self.gains > 0).astype(np.float64), self._best_ranks()
        columns = []
        for metric in _METRICS:
            reached, gains, possible = metric.of_ranks(ranks), is_relevant, is_relevant
            if isinstance(metric, NDCG):
                gains, possible = self.gains, metric.of_ranks(best) * self.gains
            columns.append(np.bincount(requests, reached * gains) / np.bincount(requests, possible))
        first = np.unique(requests, return_index=True)[1]  # a row of each request
        units, groups = np.unique(self.units[first], return_inverse=True)
        return units, per_user(np.stack(columns, axis=1), groups)

    def _best_ranks(self) -> Values:
        """(T,) ranks in the best order of each request: by gain, largest first."""
        order = np.lexsort((-self.gains, self.requests))
        ordered = self.requests[order]
        is_first = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
        position = np.arange(len(ordered))
        ranks = np.empty(len(ordered))
        ranks[order] = position - np.maximum.accumulate(np.where(is_first, position, 0)) + 1.0
        return ranks
