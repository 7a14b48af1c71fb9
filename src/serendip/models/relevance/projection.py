"""Query projection towards relevant items: kernel ridge regression with landmarks (Nystroem).

A general text encoder does not know a trade's vocabulary. So a query vector q is moved towards the
relevant items of similar training queries: ``q + k(q, Z) A``, with a Gaussian kernel k on the
sphere, landmarks Z drawn from the training queries, and A by ridge regression from queries to the
differences between them and their relevant items (Nystroem approximation: Williams and Seeger
2000). Far from all landmarks a query does not move. Only the leading singular directions of A are
kept, so that a request reads less.

Shapes: Q queries, q different queries, N items, P pairs, L landmarks, R directions, V views, C size
of a text vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import Artefact, BoolArray, FloatArray, IntArray
from serendip.data.numeric import unit
from serendip.models.relevance.features import (
    KINDS,
    VIEWS,
    PairFeatures,
    QueryTexts,
    split_by_query,
)

PROJECTED_FEATURES = tuple(f"projected {view}: {kind}" for view in VIEWS for kind in KINDS)


LANDMARKS = 1_000
"""Most training queries that the kernel compares a query with."""

SHARPNESS = 4.0
"""kappa: the kernel of two queries is exp(kappa (cosine - 1))."""

RIDGE = 0.3
"""The higher, the less queries move."""

DIRECTIONS = 256
"""Largest rank of the regression weights that are kept."""

FOLDS = 5
"""Folds of the groups: features of a fold come from a projection of the other folds."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryProjection(Artefact):
    """Moves query vectors.

    Args:
        landmarks: (L, C) unit vectors; L = 0 moves nothing.
        shares: (L, R) weight of each direction for each landmark.
        directions: (R, V, C).
    """

    landmarks: FloatArray
    shares: FloatArray
    directions: FloatArray

    @classmethod
    def fit(
        cls,
        features: PairFeatures,
        queries: QueryTexts,
        relevant: tuple[IntArray, IntArray],
        seed: int = 0,
    ) -> Self:
        """Fit on relevant pairs, numbers of query and item (P,) each; the seed draws landmarks."""
        random = np.random.default_rng(seed)
        query_nums, rows = np.unique(relevant[0], return_inverse=True)  # (q,), (P,)
        vectors = features.centre_queries(queries, query_nums)  # (q, C)
        targets = _mean_items(features.views, rows, relevant[1], len(query_nums))  # V times (q, C)
        landmarks = vectors[np.sort(random.permutation(len(query_nums))[:LANDMARKS])]
        kernel = _kernel(vectors, landmarks)  # (q, L)
        gram = kernel.T @ kernel + RIDGE * _kernel(landmarks, landmarks)
        # Equal queries make equal rows; this keeps the matrix invertible.
        gram[np.diag_indices(len(gram))] += 1e-3
        # A query whose relevant items all lack the text of a view is not moved there.
        steps = [
            np.where(target.any(1, keepdims=True), target - vectors, 0.0) for target in targets
        ]
        weights = [np.linalg.solve(gram, kernel.T @ step) for step in steps]  # V times (L, C)
        moves = np.stack(weights, axis=1).astype(np.float32)  # (L, V, C)
        return cls(landmarks, *_factorise(moves, DIRECTIONS))

    def compute(
        self, features: PairFeatures, queries: QueryTexts, rows: IntArray, numbers: IntArray
    ) -> FloatArray:
        """(P, 2 V) ``PROJECTED_FEATURES`` of pairs, by numbers of queries and items (P,)."""
        columns = np.empty((len(rows), len(PROJECTED_FEATURES)), np.float32)
        for row, own in split_by_query(rows):
            moved = self.move(features.centre_query(queries, row))
            views = features.views.take(numbers[own], axis=1)
            columns[own] = features.reference.columns(moved, views)
        return columns

    def move(self, vector: FloatArray) -> list[FloatArray]:
        """V times (C,) a query, moved, as a unit vector."""
        steps = _kernel(vector[None], self.landmarks)[0] @ self.shares
        moves = np.tensordot(steps, self.directions, 1).astype(np.float32)  # (V, C)
        return list(unit(vector + moves))


def out_of_fold_features(
    features: PairFeatures,
    queries: QueryTexts,
    pairs: tuple[IntArray, IntArray],
    is_irrelevant: BoolArray,
    groups: IntArray,
    seed: int = 0,
) -> FloatArray:
    """(P, 2 V) features of pairs, each by a projection that was fitted on other groups.

    A projection fits its own training pairs better than new pairs; a model trained on such features
    would rely on them too much. Pairs are numbers of query and item, (P,) each; those of one group
    (P,) share a fold.
    """
    rows, numbers = pairs
    group_ids, group_of = np.unique(groups, return_inverse=True)
    fold = (np.random.default_rng(seed).permutation(len(group_ids)) % FOLDS)[group_of]
    columns = np.zeros((len(rows), len(PROJECTED_FEATURES)), np.float32)
    for held_out in np.unique(fold).tolist():
        is_held_out, is_train = fold == held_out, (fold != held_out) & ~is_irrelevant
        relevant = rows[is_train], numbers[is_train]
        projection = QueryProjection.fit(features, queries, relevant, seed)
        columns[is_held_out] = projection.compute(
            features, queries, rows[is_held_out], numbers[is_held_out]
        )
    return columns


def _mean_items(
    views: FloatArray, rows: NDArray[np.intp], numbers: IntArray, count: int
) -> list[FloatArray]:
    """V times (q, C) mean vectors of the items of each query."""
    sums = np.zeros((len(views), count, views.shape[2]), np.float32)
    for total, view in zip(sums, views, strict=True):
        np.add.at(total, rows, view[numbers])
    means = sums / np.maximum(1, np.bincount(rows, minlength=count))[:, None]
    return list(means.astype(np.float32))


def _kernel(queries: FloatArray, landmarks: FloatArray) -> FloatArray:
    kernel: FloatArray = np.exp(SHARPNESS * (queries @ landmarks.T - 1)).astype(np.float32)
    return kernel


def _factorise(moves: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Best approximation (L, R) x (R, V, C) of moves (L, V, C), with R up to ``count``."""
    landmarks, views, size = moves.shape
    flat = moves.reshape(landmarks, views * size)
    shares = np.linalg.eigh(flat @ flat.T)[1][:, -count:].astype(np.float32)
    directions: FloatArray = (shares.T @ flat).reshape(shares.shape[1], views, size)
    return shares, directions
