"""Recall@k = |L_k intersect R| / |R|: the share of the relevant items that the first k hold."""

from __future__ import annotations

import numpy as np

from serendip.evaluate.metrics.base import Graded, RankingMetric
from serendip.evaluate.runs import Values


class Recall(RankingMetric):
    """Divides by all relevant items, as trec_eval does, even where they are more than k."""

    name = "Recall"

    def of_list(self, graded: Graded) -> float:
        """Share of the relevant items within the first k."""
        return float(np.count_nonzero(graded.gains[: self.k]) / len(graded.ideal))

    def of_ranks(self, ranks: Values) -> Values:
        """1 where the target is within the first k, else 0."""
        return (ranks <= self.k).astype(np.float64)
