"""nDCG@k = DCG / IDCG with linear gains.

::

    DCG  = sum over ranks r = 1..k of  gain(r) / log2(r + 1)
    IDCG = the same sum over the min(k, |R|) largest gains of all relevant items

Libraries whose IDCG always has k terms give .2201 where this (and trec_eval, ranx, scikit-learn)
gives .6131: two relevant items, one of them returned first.

Jarvelin and Kekalainen 2002, "Cumulated gain-based evaluation of IR techniques". Difference: linear
gains as in trec_eval and the discount log2(r + 1) from the first rank on.
"""

from __future__ import annotations

import numpy as np

from serendip.evaluate.metrics.base import Graded, RankingMetric
from serendip.evaluate.runs import Values


class NDCG(RankingMetric):
    """Normalised discounted cumulative gain, with linear gains.

    >>> from serendip.evaluate.metrics.base import grade
    >>> round(NDCG(10).of_list(grade(["a", "x"], {"a": 1, "b": 1})), 4)
    0.6131
    """

    name = "nDCG"

    def of_list(self, graded: Graded) -> float:
        """DCG of the first k divided by that of the best order of all relevant items."""
        return _dcg(graded.gains[: self.k]) / _dcg(graded.ideal[: self.k])

    def of_ranks(self, ranks: Values) -> Values:
        """1 / log2(rank + 1) if the target is among the first k, else 0."""
        return np.where(ranks <= self.k, 1.0 / np.log2(ranks + 1.0), 0.0)


def _dcg(gains: Values) -> float:
    """Discounted cumulative gain of gains (L,) in order."""
    return float(gains @ (1.0 / np.log2(np.arange(2.0, len(gains) + 2.0))))
