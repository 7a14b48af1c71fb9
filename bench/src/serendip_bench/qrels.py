"""Metrics of requests with several relevant items, from the ranks of all of them.

A row is one item of one request. With r the rank of an item among all items (ties count half) and
g its gain, over the items of a request::

    R@k = (relevant items with r <= k) / (relevant items)
    N@k = sum of g / log2(r + 1) where r <= k  /  the same sum of the best order
    J@k = (judged items with r <= k) / k

where relevant items have a gain above 0 and unjudged items count as 0. The value of a unit (a
user, a conversation) is the mean over its requests.

Shapes: T rows, Q requests, U units.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.evaluate.intervals import per_user
from serendip.evaluate.metrics import NDCG, Recall
from serendip.evaluate.runs import Groups, Values


@dataclass(frozen=True, slots=True, eq=False)
class Relevance:
    """Grouping of rows by request and unit, with graded relevance.

    Args:
        requests: (T,) request of each row, in any order.
        units: (T,) unit of each row, such as its user; one unit per request.
        gains: (T,) float64, 0 or more; 0 = judged as irrelevant.
    """

    requests: Groups
    units: Groups
    gains: Values

    def where(self, mask: BoolArray) -> Relevance:
        """The rows of a mask (T,)."""
        return Relevance(self.requests[mask], self.units[mask], self.gains[mask])

    def recall(self, ranks: Values, k: int) -> Values:
        """(U,) R@k of ranks (T,)."""
        is_relevant = (self.gains > 0).astype(np.float64)
        return self._mean_shares(Recall(k).of_ranks(ranks) * is_relevant, is_relevant)

    def ndcg(self, ranks: Values, k: int) -> Values:
        """(U,) N@k of ranks (T,)."""
        discount = NDCG(k)
        best = discount.of_ranks(self._rank_ideally())
        return self._mean_shares(discount.of_ranks(ranks) * self.gains, best * self.gains)

    def judged(self, ranks: Values, k: int) -> Values:
        """(U,) J@k of ranks (T,)."""
        depths = np.zeros(len(ranks))
        depths[np.unique(self._renumber(self.requests), return_index=True)[1]] = k
        return self._mean_shares(Recall(k).of_ranks(ranks), depths)

    def save(self, path: Path) -> None:
        """Write an npz file."""
        np.savez(path, requests=self.requests, units=self.units, gains=self.gains)

    @classmethod
    def open(cls, path: Path) -> Relevance | None:
        """Read a file of ``save``; None if it does not exist."""
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as stored:
            return cls(stored["requests"], stored["units"], stored["gains"])

    def _rank_ideally(self) -> Values:
        """(T,) ranks in the ideal order of each request: by gain, largest first."""
        order = np.lexsort((-self.gains, self.requests))
        ordered = self.requests[order]
        is_first = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
        position = np.arange(len(ordered))
        ranks = np.empty(len(ordered))
        ranks[order] = position - np.maximum.accumulate(np.where(is_first, position, 0)) + 1.0
        return ranks

    def _mean_shares(self, achieved: Values, possible: Values) -> Values:
        """(U,) mean over the requests of a unit of sum(achieved) / sum(possible)."""
        if not len(self.requests):
            return np.empty(0)
        dense = self._renumber(self.requests)
        share = np.bincount(dense, achieved) / np.bincount(dense, possible)  # (Q,)
        first = np.unique(dense, return_index=True)[1]  # (Q,) a row of each request
        return per_user(share[:, None], self._renumber(self.units[first]))[:, 0]

    @staticmethod
    def _renumber(groups: Groups) -> Groups:
        """Group numbers 0, 1, 2, ... without gaps."""
        return np.asarray(np.unique(groups, return_inverse=True)[1], np.intp)
