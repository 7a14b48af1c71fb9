"""AP@k = (sum over ranks r <= k of relevant items of Precision@r) / min(k, |R|).

trec_eval's ``map_cut`` divides by |R| instead, so that 20 relevant items can never reach 1 at
k = 10; the two agree if |R| <= k.
"""

from __future__ import annotations

import numpy as np

from serendip.evaluate.metrics.base import Graded, RankingMetric
from serendip.evaluate.runs import Values


class AveragePrecision(RankingMetric):
    """Average precision: precision at the ranks of the relevant items."""

    name = "AP"

    def of_list(self, graded: Graded) -> float:
        """Sum of the precisions at relevant ranks, divided by min(k, |R|)."""
        ranks = np.flatnonzero(graded.gains[: self.k]) + 1.0
        precisions = np.arange(1.0, len(ranks) + 1.0) / ranks
        return float(precisions.sum() / min(self.k, len(graded.ideal)))

    def of_ranks(self, ranks: Values) -> Values:
        """1 / rank if the target is among the first k, else 0."""
        return np.where(ranks <= self.k, 1.0 / ranks, 0.0)
