"""Candidate features of the blend: each part's score on several scales.

Features of a part: its score as it is (the amount of evidence), its difference to the part's best
score for the request, its log-probability among all items (softmax), and its log-rank. Vectorised
over requests; plain numpy, for training and serving.

Shapes: B queries, N items, P parts, C candidates of a query, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data import BoolArray, FloatArray, Query
from serendip.models.sequence.packing import LongArray

PER_PART, PER_QUERY = 4, 1
"""Features per part of the blend; features of the query itself."""

_LOWEST = np.float32(-1e30)
"""Score of excluded items; finite, so that sums and differences stay finite."""


@dataclass(frozen=True, slots=True, eq=False)
class BlendCandidates:
    """Union of the best items of every part, for a batch of queries.

    Args:
        items: (B, C) int64, ascending in a row.
        is_candidate: (B, C) False for padding; the item number there is arbitrary.
        features: (B, C, F) float32, F = P * PER_PART + PER_QUERY.
    """

    items: LongArray
    is_candidate: BoolArray
    features: FloatArray


def build_candidates(
    queries: Sequence[Query], scores: Sequence[FloatArray], count: int
) -> BlendCandidates:
    """Take the ``count`` best items of each part that a query does not exclude; build features.

    Args:
        queries: B requests.
        scores: (B, N) scores of each part; not changed.
        count: items per part.
    """
    masked = [_mask_excluded(queries, part_scores) for part_scores in scores]  # P times (B, N)
    best = [_find_best(part_scores, count) for part_scores in masked]  # P times (B, count)
    items, is_candidate = _merge(np.concatenate(best, 1))  # (B, C) each
    is_candidate &= np.take_along_axis(masked[0], items, 1) > _LOWEST
    features = np.empty((*items.shape, len(scores) * PER_PART + PER_QUERY), np.float32)
    for part, part_scores in enumerate(masked):
        columns = slice(part * PER_PART, (part + 1) * PER_PART)
        features[:, :, columns] = _build_part_features(part_scores, items, is_candidate)
    num_items = scores[0].shape[1]
    features[:, :, -1] = np.log1p([[len(query.history.known(num_items))] for query in queries])
    return BlendCandidates(items, is_candidate, features)


def _mask_excluded(queries: Sequence[Query], scores: FloatArray) -> FloatArray:
    """Copy of the scores (B, N) in which excluded items have the lowest score."""
    masked = scores.copy()
    for row, query in zip(masked, queries, strict=True):
        row[query.exclude] = _LOWEST
    return masked


def _find_best(scores: FloatArray, count: int) -> LongArray:
    """Items (B, count) with the highest scores of each row, unordered."""
    count = min(count, scores.shape[1])
    # Negated: numpy partitions around a small index up to ten times faster than near the end.
    return np.argpartition(-scores, count - 1, axis=1)[:, :count]


def _merge(items: LongArray) -> tuple[LongArray, BoolArray]:
    """Sort and deduplicate each row of items (B, P * count): items (B, C) and a mask of padding.

    Repetitions move to the end of their row, where the mask is False.
    """
    items = np.sort(items, axis=1)
    is_repeated = np.zeros(items.shape, np.bool_)
    is_repeated[:, 1:] = items[:, 1:] == items[:, :-1]
    order = np.argsort(is_repeated, axis=1, kind="stable")
    width = int((~is_repeated).sum(1).max())  # C
    order = order[:, :width]
    return np.take_along_axis(items, order, 1), ~np.take_along_axis(is_repeated, order, 1)


def _build_part_features(
    scores: FloatArray, items: LongArray, is_candidate: BoolArray
) -> FloatArray:
    """Features (B, C, PER_PART) of one part from its scores (B, N) of all items.

    Score, difference to the best score, log-probability, negative log-rank.
    """
    score = np.take_along_axis(scores, items, 1)  # (B, C)
    score = np.where(is_candidate, score, 0.0)
    best = scores.max(1, keepdims=True)  # (B, 1)
    log_sum = best + np.log(np.exp(scores - best).sum(1, keepdims=True))  # (B, 1), stable
    ranked = np.where(is_candidate, score, _LOWEST)
    # The second argsort inverts the first: rank of each candidate, from 0.
    ranks = np.argsort(np.argsort(-ranked, axis=1, kind="stable"), axis=1, kind="stable")
    return np.stack([score, score - best, score - log_sum, -np.log1p(ranks)], 2).astype(np.float32)
