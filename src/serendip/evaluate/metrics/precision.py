"""Precision@k = |L_k intersect R| / k: also where a list is shorter than k."""

from __future__ import annotations

import numpy as np

from serendip.evaluate.metrics.base import Graded, RankingMetric
from serendip.evaluate.runs import Values


class Precision(RankingMetric):
    """Divides by k always: places left empty are misses. 1 needs k relevant items."""

    name = "Precision"

    def of_list(self, graded: Graded) -> float:
        """Relevant items within the first k, divided by k."""
        return float(np.count_nonzero(graded.gains[: self.k]) / self.k)

    def of_ranks(self, ranks: Values) -> Values:
        """1/k where the target is within the first k, else 0."""
        return (ranks <= self.k) / self.k
