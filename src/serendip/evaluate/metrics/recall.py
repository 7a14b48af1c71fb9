"""Recall@k = |L_k intersect R| / |R|: share of the relevant items that are among the first k."""

from __future__ import annotations

import numpy as np

from serendip.evaluate.metrics.base import Graded, RankingMetric
from serendip.evaluate.runs import Values


class Recall(RankingMetric):
    """Share of all relevant items, as in trec_eval, even if there are more than k of them."""

    name = "Recall"

    def of_list(self, graded: Graded) -> float:
        """Share of the relevant items that are among the first k."""
        return float(np.count_nonzero(graded.gains[: self.k]) / len(graded.ideal))

    def of_ranks(self, ranks: Values) -> Values:
        """1 if the target is among the first k, else 0."""
        return (ranks <= self.k).astype(np.float64)
