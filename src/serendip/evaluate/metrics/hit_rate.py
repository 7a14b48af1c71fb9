"""HitRate@k = 1 where L_k intersect R is not empty, else 0."""

from __future__ import annotations

import numpy as np

from serendip.evaluate.metrics.base import Graded, RankingMetric
from serendip.evaluate.runs import Values


class HitRate(RankingMetric):
    """Whether any relevant item is within the first k."""

    name = "HitRate"

    def of_list(self, graded: Graded) -> float:
        """1 where one of the first k is relevant."""
        return float(graded.gains[: self.k].any())

    def of_ranks(self, ranks: Values) -> Values:
        """1 where the target is within the first k, else 0."""
        return (ranks <= self.k).astype(np.float64)
