"""Ranks of targets among all items, and their values in the tables: R@5, N@5, R@10 and N@10.

With the rank of the target, R@k is 1 where rank <= k, and N@k is 1 / log2(rank + 1) there.

Shapes: T requests, B requests of a batch, N items, k length of a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.item_list import top_k
from serendip.evaluate.intervals import Estimate, estimates
from serendip.evaluate.metrics import NDCG, Recall
from serendip.evaluate.runs import PADDING, Values, ranks_from_scores

LABELS = ("R@5", "N@5", "R@10", "N@10")
_METRICS = (Recall(5), NDCG(5), Recall(10), NDCG(10))


def values_of_ranks(ranks: Values) -> Values:
    """Compute R@5, N@5, R@10 and N@10 of each request: (T, 4)."""
    return np.stack([metric.of_ranks(ranks) for metric in _METRICS], axis=1)


def estimates_of_ranks(ranks: Values) -> dict[str, Estimate]:
    """Estimate the mean of each metric, by label; every request is of another user."""
    return dict(zip(LABELS, estimates(values_of_ranks(ranks)), strict=True))


BATCH = 512


@dataclass(frozen=True, slots=True, eq=False)
class FullRanking:
    """Ranks of the targets, and the first items of each ranking.

    Args:
        ranks: (T,) float64, 1-based.
        lists: (T, k) int32 the first k items, padded with -1; ties in a fixed random order.
    """

    ranks: Values
    lists: IntArray


def rank_all(
    score: Callable[[slice], FloatArray],
    targets: IntArray,
    excluded: Sequence[IntArray],
    k: int = 0,
) -> FullRanking:
    """Rank the targets among all items that are not excluded.

    Args:
        score: slice of requests -> scores (B, N) of all items.
        targets: (T,) int32 the next item of each request.
        excluded: T arrays of items that are not ranked.
        k: length of the lists; 0 = no lists.
    """
    ranks = np.empty(len(targets))
    lists = np.full((len(targets), k), PADDING, np.int32)
    for begin in range(0, len(targets), BATCH):
        rows = slice(begin, begin + BATCH)
        scores = score(rows)
        ranks[rows] = ranks_from_scores(scores, targets[rows], excluded[rows])
        for row, row_scores in enumerate(scores if k else (), start=begin):
            allowed = row_scores.copy()  # (N,)
            allowed[excluded[row]] = -np.inf
            best = top_k(allowed, k).item_nums
            lists[row, : len(best)] = best
    return FullRanking(ranks, lists)
