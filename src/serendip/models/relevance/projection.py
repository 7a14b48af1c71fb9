"""Query projection towards relevant items: kernel ridge regression with landmarks (Nystroem).

A general text encoder does not know a trade's vocabulary. So a query vector q is moved towards the
relevant items of similar training queries: ``q + k(q, Z) A``, with a Gaussian kernel k on the
sphere, landmarks Z drawn from the training queries, and A by ridge regression from queries to the
differences between them and their relevant items (Nystroem approximation: Williams and Seeger
2000). Far from all landmarks a query does not move. Only the directions of A that matter most are
kept, so that a request reads less.

Shapes: Q queries, N items, P pairs, L landmarks, R directions, V views, C size of a text vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.numeric import unit
from serendip.models.relevance.features import CROWD, VIEWS, PairFeatures, QueryTexts
from serendip.models.relevance.hubness import KINDS, HubnessCorrection

LEARNED_FEATURES = tuple(f"learned {view}: {kind}" for view in VIEWS for kind in KINDS)


class QueryProjectionConfig(Config):
    """How far queries are moved."""

    landmarks: int = 1_000
    """Queries that others are compared with, at most."""

    sharpness: float = 4.0
    """kappa: the kernel of two queries is exp(kappa (cosine - 1))."""

    reg: float = 0.3
    """How much it costs to move anything."""

    directions: int = 256
    """In which queries can be moved, at most."""

    parts: int = 5
    """Parts of the units: features of a part are learned from the others."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryProjection:
    """A map of queries, and a crowd of moved ones.

    Args:
        config: its ``sharpness``.
        features: what vectors are centred by.
        landmarks: (L, C) unit vectors; L = 0 moves nothing.
        shares: (L, R) how far each landmark moves a query in each direction.
        directions: (R, V, C).
        crowd: of moved queries and of items.
    """

    config: QueryProjectionConfig
    features: PairFeatures
    landmarks: FloatArray
    shares: FloatArray
    directions: FloatArray
    crowd: HubnessCorrection

    @classmethod
    def fit(
        cls,
        config: QueryProjectionConfig,
        features: PairFeatures,
        queries: QueryTexts,
        good: tuple[IntArray, IntArray],
        seed: int = 0,
    ) -> Self:
        """Learn from good pairs.

        Args:
            config: how.
            features: of the items.
            queries: texts and vectors.
            good: numbers of query and item, (P,) each.
            seed: of the landmarks and of the crowd.
        """
        random = np.random.default_rng(seed)
        asked, row = np.unique(good[0], return_inverse=True)
        own = features.asked(queries, asked)
        targets = _means(features.views, row, good[1], len(asked))
        landmarks = own[np.sort(random.permutation(len(asked))[: config.landmarks])]
        near = _kernel(own, landmarks, config.sharpness)
        inner = near.T @ near + config.reg * _kernel(landmarks, landmarks, config.sharpness)
        # The kernel of two equal queries makes rows equal; this much keeps them apart.
        inner[np.diag_indices(len(inner))] += 1e-3
        # Where no good item has a text of the view there is nowhere to move to.
        steps = [np.where(target.any(1, keepdims=True), target - own, 0.0) for target in targets]
        solved = [np.linalg.solve(inner, near.T @ step) for step in steps]
        moves = np.stack(solved, axis=1).astype(np.float32)
        shares, directions = _main(moves, config.directions)
        some = features.asked(queries, np.sort(random.permutation(len(queries.vectors))[:CROWD]))
        moved = _moved(some, landmarks, shares, directions, config.sharpness)
        crowd = HubnessCorrection.of(moved, features.crowd.items)
        return cls(config, features, landmarks, shares, directions, crowd)

    def of(self, queries: QueryTexts, rows: IntArray, numbers: IntArray) -> FloatArray:
        """(P, 3 V) ``LEARNED_FEATURES`` of pairs.

        Args:
            queries: texts and vectors.
            rows: (P,) numbers of queries.
            numbers: (P,) numbers of items.
        """
        asked, row = np.unique(rows, return_inverse=True)
        different, which = np.unique(numbers, return_inverse=True)
        own = self.features.asked(queries, asked)
        map_ = self.landmarks, self.shares, self.directions
        moved = _moved(own, *map_, self.config.sharpness)
        views = self.features.views[:, different]
        return np.column_stack(self.crowd.columns(moved, views, (row, which)))


def out_of_fold_features(
    config: QueryProjectionConfig,
    features: PairFeatures,
    queries: QueryTexts,
    pairs: tuple[IntArray, IntArray],
    is_bad: BoolArray,
    units: IntArray,
    seed: int = 0,
) -> FloatArray:
    """(P, 3 V) features of pairs, each learned from pairs of other units.

    What a map says of pairs that it was learned from is better than what it will say of others;
    who learns from these features would trust them too much.

    Args:
        config: how.
        features: of the items.
        queries: texts and vectors.
        pairs: numbers of query and item, (P,) each.
        is_bad: (P,) labels.
        units: (P,) int32 what is kept together.
        seed: of the parts, and of all maps.
    """
    rows, numbers = pairs
    different, place = np.unique(units, return_inverse=True)
    part = (np.random.default_rng(seed).permutation(len(different)) % config.parts)[place]
    found = np.zeros((len(rows), len(LEARNED_FEATURES)), np.float32)
    for own in np.unique(part).tolist():
        asked, learned = part == own, (part != own) & ~is_bad
        good = rows[learned], numbers[learned]
        map_ = QueryProjection.fit(config, features, queries, good, seed)
        found[asked] = map_.of(queries, rows[asked], numbers[asked])
    return found


def _means(
    views: FloatArray, row: NDArray[np.intp], numbers: IntArray, count: int
) -> list[FloatArray]:
    """V times (q, C) means of the items of each query."""
    sums = np.zeros((len(views), count, views.shape[2]), np.float32)
    for total, view in zip(sums, views, strict=True):
        np.add.at(total, row, view[numbers])
    means = sums / np.maximum(1, np.bincount(row, minlength=count))[:, None]
    return list(means.astype(np.float32))


def _kernel(one: FloatArray, other: FloatArray, sharpness: float) -> FloatArray:
    near: FloatArray = np.exp(sharpness * (one @ other.T - 1)).astype(np.float32)
    return near


def _main(moves: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """The nearest product (L, R) x (R, V, C) to moves (L, V, C), R = ``count`` at most."""
    landmarks, views, size = moves.shape
    flat = moves.reshape(landmarks, views * size)
    shares = np.linalg.eigh(flat @ flat.T)[1][:, -count:].astype(np.float32)
    directions: FloatArray = (shares.T @ flat).reshape(shares.shape[1], views, size)
    return shares, directions


def _moved(
    own: FloatArray,
    landmarks: FloatArray,
    shares: FloatArray,
    directions: FloatArray,
    sharpness: float,
) -> Sequence[FloatArray]:
    """V times (q, C) unit vectors."""
    steps = _kernel(own, landmarks, sharpness) @ shares
    count, views, size = directions.shape
    flat: FloatArray = directions.reshape(count, views * size)
    moves = (steps @ flat).reshape(len(own), views, size).astype(np.float32)
    return [unit(own + moves[:, view]) for view in range(views)]
