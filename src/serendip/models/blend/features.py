"""Candidate features of the blend: each part's score on several scales.

A part's score is given as it is (how much evidence there is at all), relative to the part's best
score for the same request, as a probability among all items, and as a rank. Vectorised over
requests; plain numpy, for training and serving.

Shapes: B queries, N items, P parts, C candidates of a query, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.query import Query
from serendip.models.sequence.packing import LongArray

PER_PART, PER_QUERY = 4, 1
_LOWEST = np.float32(-1e30)


@dataclass(frozen=True, slots=True, eq=False)
class BlendCandidates:
    """The best items of every part, for a batch of queries.

    Args:
        items: (B, C) int64, ascending in a row.
        real: (B, C) False for places that no candidate fills; their item is any item.
        features: (B, C, F) float32, F = P * PER_PART + PER_QUERY.
    """

    items: LongArray
    real: BoolArray
    features: FloatArray


def candidates_of(
    queries: Sequence[Query], scores: Sequence[FloatArray], count: int
) -> BlendCandidates:
    """The ``count`` best items of each part that a query does not exclude, and their features.

    Args:
        queries: B requests.
        scores: of each part, (B, N); not changed.
        count: taken from each part.
    """
    masked = [_without_excluded(queries, each) for each in scores]
    items, real = _union(np.concatenate([_best(each, count) for each in masked], 1))
    real &= np.take_along_axis(masked[0], items, 1) > _LOWEST
    features = np.empty((*items.shape, len(scores) * PER_PART + PER_QUERY), np.float32)
    for place, each in enumerate(masked):
        features[:, :, place * PER_PART : (place + 1) * PER_PART] = _views(each, items, real)
    width = scores[0].shape[1]
    features[:, :, -1] = np.log1p([[len(query.history.known(width))] for query in queries])
    return BlendCandidates(items, real, features)


def _without_excluded(queries: Sequence[Query], scores: FloatArray) -> FloatArray:
    masked = scores.copy()
    for row, query in zip(masked, queries, strict=True):
        row[query.exclude] = _LOWEST
    return masked


def _best(scores: FloatArray, count: int) -> LongArray:
    """(B, count) the best items of each row, in no order."""
    count = min(count, scores.shape[1])
    # Of the negated scores: a small place is found up to ten times faster than one near the end.
    return np.argpartition(-scores, count - 1, axis=1)[:, :count]


def _union(items: LongArray) -> tuple[LongArray, BoolArray]:
    """Ascending items of each row, each once: repetitions are moved to the end and not real."""
    items = np.sort(items, axis=1)
    repeated = np.zeros(items.shape, np.bool_)
    repeated[:, 1:] = items[:, 1:] == items[:, :-1]
    order = np.argsort(repeated, axis=1, kind="stable")
    used = int((~repeated).sum(1).max())
    order = order[:, :used]
    return np.take_along_axis(items, order, 1), ~np.take_along_axis(repeated, order, 1)


def _views(scores: FloatArray, items: LongArray, real: BoolArray) -> FloatArray:
    """(B, C, PER_PART): a part's own score, below its best, log-probability, log-rank."""
    own = np.take_along_axis(scores, items, 1)
    own = np.where(real, own, 0.0)
    best = scores.max(1, keepdims=True)
    normaliser = best + np.log(np.exp(scores - best).sum(1, keepdims=True))
    ordered = np.where(real, own, _LOWEST)
    places = np.argsort(np.argsort(-ordered, axis=1, kind="stable"), axis=1, kind="stable")
    return np.stack([own, own - best, own - normaliser, -np.log1p(places)], 2).astype(np.float32)
