"""HitRate@k = 1 if L_k intersect R is not empty, else 0."""

from __future__ import annotations

import numpy as np

from serendip.evaluate.metrics.base import Graded, RankingMetric
from serendip.evaluate.runs import Values


class HitRate(RankingMetric):
    """1 for a list with a relevant item among the first k."""

    name = "HitRate"

    def of_list(self, graded: Graded) -> float:
        """1 if one of the first k is relevant, else 0."""
        return float(graded.gains[: self.k].any())

    def of_ranks(self, ranks: Values) -> Values:
        """1 if the target is among the first k, else 0."""
        return (ranks <= self.k).astype(np.float64)
