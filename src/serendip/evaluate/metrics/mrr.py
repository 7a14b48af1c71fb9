"""MRR@k = 1 / (rank of the first relevant item) if that rank is at most k, else 0."""

from __future__ import annotations

import numpy as np

from serendip.evaluate.metrics.base import Graded, RankingMetric
from serendip.evaluate.runs import Values


class MRR(RankingMetric):
    """Reciprocal rank of the first relevant item."""

    name = "MRR"

    def of_list(self, graded: Graded) -> float:
        """Reciprocal rank of the first relevant item among the first k, else 0."""
        hits = np.flatnonzero(graded.gains[: self.k])
        return float(1.0 / (hits[0] + 1)) if len(hits) else 0.0

    def of_ranks(self, ranks: Values) -> Values:
        """1 / rank if the target is among the first k, else 0."""
        return np.where(ranks <= self.k, 1.0 / ranks, 0.0)
