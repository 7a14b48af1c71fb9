"""Requests with several relevant items, judged by the ranks of all of them.

A row is one item of one request. With r the rank of an item among all items (ties count half) and
g its gain, over the items of a request::

    R@k = (relevant items with r <= k) / (relevant items)
    N@k = sum of g / log2(r + 1) where r <= k  /  the same sum of the best order
    J@k = (judged items with r <= k) / k

where relevant is what has a gain, and what is not judged counts as 0. The value of a unit (a user,
a conversation) is the mean over its requests.

Shapes: T rows, Q requests, U units.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.evaluate.intervals import per_user
from serendip.evaluate.metrics.ndcg import NDCG
from serendip.evaluate.metrics.recall import Recall
from serendip.evaluate.runs import Groups, Values


@dataclass(frozen=True, slots=True, eq=False)
class Relevance:
    """What the rows of a set of requests have to do with one another.

    Args:
        requests: (T,) which request a row belongs to; rows of a request stand together or apart.
        units: (T,) whose request it is; one unit per request.
        gains: (T,) float64, 0 or more; 0 = judged, and not relevant.
    """

    requests: Groups
    units: Groups
    gains: Values

    def where(self, mask: BoolArray) -> Relevance:
        """The rows that a mask (T,) keeps."""
        return Relevance(self.requests[mask], self.units[mask], self.gains[mask])

    def recall(self, ranks: Values, k: int) -> Values:
        """(U,) R@k of rows of ranks (T,)."""
        is_relevant = (self.gains > 0).astype(np.float64)
        return self._shares(Recall(k).of_ranks(ranks) * is_relevant, is_relevant)

    def ndcg(self, ranks: Values, k: int) -> Values:
        """(U,) N@k of rows of ranks (T,)."""
        discount = NDCG(k)
        best = discount.of_ranks(self._best_ranks())
        return self._shares(discount.of_ranks(ranks) * self.gains, best * self.gains)

    def judged(self, ranks: Values, k: int) -> Values:
        """(U,) J@k of rows of ranks (T,)."""
        places = np.zeros(len(ranks))
        places[np.unique(self._dense(self.requests), return_index=True)[1]] = k
        return self._shares(Recall(k).of_ranks(ranks), places)

    def save(self, path: Path) -> None:
        """Write an npz file."""
        np.savez(path, requests=self.requests, units=self.units, gains=self.gains)

    @classmethod
    def open(cls, path: Path) -> Relevance | None:
        """What ``save`` wrote; None where there is no such file."""
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as stored:
            return cls(stored["requests"], stored["units"], stored["gains"])

    def _best_ranks(self) -> Values:
        """(T,) ranks of the best order of each request: by gain, largest first."""
        order = np.lexsort((-self.gains, self.requests))
        ordered = self.requests[order]
        is_first = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
        place = np.arange(len(ordered))
        ranks = np.empty(len(ordered))
        ranks[order] = place - np.maximum.accumulate(np.where(is_first, place, 0)) + 1.0
        return ranks

    def _shares(self, found: Values, possible: Values) -> Values:
        """(U,) means over the requests of a unit of the sum of what was found / what could be."""
        if not len(self.requests):
            return np.empty(0)
        dense = self._dense(self.requests)
        share = np.bincount(dense, found) / np.bincount(dense, possible)
        first = np.unique(dense, return_index=True)[1]
        return per_user(share[:, None], self._dense(self.units[first]))[:, 0]

    @staticmethod
    def _dense(groups: Groups) -> Groups:
        return np.asarray(np.unique(groups, return_inverse=True)[1], np.intp)
