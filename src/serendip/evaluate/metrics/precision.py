"""Precision@k = |L_k intersect R| / k, also for lists shorter than k."""

from __future__ import annotations

import numpy as np

from serendip.evaluate.metrics.base import Graded, RankingMetric
from serendip.evaluate.runs import Values


class Precision(RankingMetric):
    """Share of relevant items among the first k; missing items count as not relevant."""

    name = "Precision"

    def of_list(self, graded: Graded) -> float:
        """Relevant items among the first k, divided by k."""
        return float(np.count_nonzero(graded.gains[: self.k]) / self.k)

    def of_ranks(self, ranks: Values) -> Values:
        """1 / k if the target is among the first k, else 0."""
        return (ranks <= self.k) / self.k
