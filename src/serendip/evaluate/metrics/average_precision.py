"""AP@k = (sum over relevant places r <= k of Precision@r) / min(k, |R|).

trec_eval's ``map_cut`` divides by |R| instead, so that 20 relevant items can never reach 1 at
k = 10; the two agree where |R| <= k.
"""

from __future__ import annotations

import numpy as np

from serendip.evaluate.metrics.base import Graded, RankingMetric
from serendip.evaluate.runs import Values


class AveragePrecision(RankingMetric):
    """Precision averaged over the places of the relevant items."""

    name = "AP"

    def of_list(self, graded: Graded) -> float:
        """Mean precision at the relevant places, over min(k, |R|)."""
        places = np.flatnonzero(graded.gains[: self.k]) + 1.0
        precisions = np.arange(1.0, len(places) + 1.0) / places
        return float(precisions.sum() / min(self.k, len(graded.ideal)))

    def of_ranks(self, ranks: Values) -> Values:
        """1/rank where the target is within the first k, else 0."""
        return np.where(ranks <= self.k, 1.0 / ranks, 0.0)
