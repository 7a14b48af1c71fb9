"""Values of ranks in the tables of the benchmarks: R@5, N@5, R@10 and N@10.

With the rank of the target, R@k is 1 where rank <= k, and N@k is 1 / log2(rank + 1) there.
"""

from __future__ import annotations

import numpy as np

from serendip.evaluate.intervals import Estimate, estimates
from serendip.evaluate.metrics import NDCG, Recall
from serendip.evaluate.runs import Values

LABELS = ("R@5", "N@5", "R@10", "N@10")
_METRICS = (Recall(5), NDCG(5), Recall(10), NDCG(10))


def values_of_ranks(ranks: Values) -> Values:
    """Compute R@5, N@5, R@10 and N@10 of each request: (T, 4)."""
    return np.stack([metric.of_ranks(ranks) for metric in _METRICS], axis=1)


def estimates_of_ranks(ranks: Values) -> dict[str, Estimate]:
    """Estimate the mean of each metric, by label; every request is of another user."""
    return dict(zip(LABELS, estimates(values_of_ranks(ranks)), strict=True))
