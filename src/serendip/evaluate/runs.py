"""Inputs of the evaluation: ranked lists of the systems, and the ranks of the targets in them.

A target is one next event; its user made one request and every system answered it. Ranks are
1-based. A rank of infinity means "not returned" and stays in all means: a missing answer has the
value 0 in every ranking metric. Where all items are ranked, ties count half::

    rank = 1 + (items scored higher) + (other items scored equal) / 2

Items of the history are not ranked then. There are no sampled negatives.

Shapes: T requests (one target each), U users, N items, B requests of a batch, k length of a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray

Values: TypeAlias = NDArray[np.float64]
Groups: TypeAlias = NDArray[np.intp]

Keys: TypeAlias = NDArray[np.uint64]
"""What identifies requests in other runs."""

PADDING = -1
"""Item number that fills lists with fewer than k items."""


def ranks_from_scores(
    scores: FloatArray, targets: IntArray, excluded: Sequence[IntArray] = ()
) -> Values:
    """Expected ranks of the targets among all items, ties counted half.

    rank = 1 + (items scored higher) + (other items scored equal) / 2. So a constant scorer has the
    mean rank of a random one, and ranks do not depend on the order of items.

    Args:
        scores: (B, N) float32; NaN and -inf mean "cannot be returned".
        targets: (B,) int32.
        excluded: items of each row that are not ranked, e.g. the history; empty = none.

    Returns:
        (B,) float64; inf if the target is excluded or has no score.
    """
    target_scores = scores[np.arange(len(targets)), targets][:, None]  # (B, 1)
    higher = (scores > target_scores).sum(axis=1).astype(np.float64)  # (B,)
    equal = (scores == target_scores).sum(axis=1) - 1.0  # (B,) without the target itself
    for row, items in enumerate(excluded):
        distinct = np.unique(items)
        if (distinct == targets[row]).any():
            higher[row] = np.inf
            continue
        higher[row] -= np.count_nonzero(scores[row, distinct] > target_scores[row, 0])
        equal[row] -= np.count_nonzero(scores[row, distinct] == target_scores[row, 0])
    ranks = 1.0 + higher + equal / 2.0
    has_score = target_scores[:, 0] > -np.inf
    return np.where(has_score, ranks, np.inf)


def ranks_from_lists(lists: IntArray, targets: IntArray) -> Values:
    """1-based ranks (T,) of targets (T,) in lists (T, k), inf if absent."""
    is_target = lists == targets[:, None]  # (T, k)
    if lists.shape[1] == 0:
        return np.full(len(targets), np.inf)
    return np.where(is_target.any(axis=1), is_target.argmax(axis=1) + 1.0, np.inf)
