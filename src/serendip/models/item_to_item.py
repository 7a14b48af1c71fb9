"""Item-to-item models, one sparse weight matrix each: item-based k nearest neighbours and EASE.

``ItemToItem`` scores, explains, extends and stores; the models differ in how they fit the matrix.

ItemKNN ("People who had this also had that"): item-based collaborative filtering. The similarity of
two items is the cosine of their user sets with a shrunken denominator, so that two items with one
common user and no other are not taken for twins. Neighbourhoods follow Deshpande & Karypis 2004,
"Item-based top-N recommendation algorithms"; difference: the events of a history lose weight with
age and likes weigh more.

EASE: a linear autoencoder in closed form. ``B`` minimises ``|X - X B|^2 + l2 |B|^2`` under a zero
diagonal, ``X`` the user-item matrix: with ``P = (X^T X + l2 I)^-1`` it is
``B[i, j] = -P[i, j] / P[j, j]`` (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data",
arXiv:1905.03375). Unlike a cosine, a weight counts only what the other items of a user do not
already explain. Differences: the events of a history lose weight with age, and only the largest
positive weights of each item are kept. On Amazon Beauty 200 per row rank as well as the whole
matrix with its negative half, in a thirtieth of the space. Float32 is as good as float64: there the
weights differ by 1e-7 at most.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.item_features import ItemFeatures
from serendip.data.query import Query
from serendip.errors import DataError
from serendip.models.base import Recommender, VoteEvidence
from serendip.models.context import context_matrix, context_weights
from serendip.models.linalg import (
    Sparse,
    columns_of,
    csr,
    open_csr,
    resized,
    save_csr,
    stacked,
    top_of_rows,
)
from serendip.runtime.progress import TrainOptions

_MATRIX_FILE = "similarities.safetensors"


class ItemToItemConfig(Config):
    """How many items vote for which, and how a history votes."""

    num_neighbours: int = Field(default=200, ge=1)
    """Items kept per item, those of the largest weights."""

    decay: float = Field(default=0.5, gt=0, le=1)
    """Weight of an event relative to the one after it."""

    like_weight: float = Field(default=1.0, gt=0)
    """How much more a like votes than a mere contact."""


class ItemToItem(Recommender):
    """Score of j = sum over the context of weight(i) * similarity(i, j)."""

    score_kind = "count"
    config: ItemToItemConfig
    _similarities: Sparse

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        self._similarities = self._compare(dataset, options)

    @abstractmethod
    def _compare(self, dataset: Dataset, options: TrainOptions) -> Sparse:
        """(N, N) positive weights; row i holds what item i gives to others, never to itself."""

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        config = self.config
        weights = context_matrix(queries, self._num_items, config.decay, config.like_weight)
        scores: FloatArray = (weights @ self._similarities).toarray()
        return scores

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and what each gives (T, C) to the scores of some items.

        The votes for an item add up to its score.
        """
        config = self.config
        items, weights = context_weights(query, self.num_items, config.decay, config.like_weight)
        return items, weights[:, None] * columns_of(self._similarities[items], item_nums)

    def _with_items(self, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        total = self._num_items + len(features)
        model._similarities = resized(self._similarities, total, total)
        return model

    def _save(self, folder: Path) -> None:
        save_csr(folder / _MATRIX_FILE, self._similarities)

    def _open(self, folder: Path) -> None:
        self._similarities = open_csr(folder / _MATRIX_FILE)


def seen_matrix(dataset: Dataset) -> Sparse:
    """(users, N) float32: 1 where the user had the item, however often."""
    events = dataset.events
    ones = np.ones(len(events), dtype=np.float32)
    shape = (dataset.num_users, dataset.num_items)
    seen = csr((ones, (events.users, events.items)), shape)
    seen.sum_duplicates()
    seen.data[:] = 1.0
    return seen


_ROWS_AT_ONCE = 1024


class ItemKNNConfig(ItemToItemConfig):
    """How items are compared and how a history votes."""

    shrinkage: float = Field(default=10.0, ge=0)
    """Added to the denominator of the cosine, in users."""


class ItemKNN(ItemToItem):
    """Similarity of i and j = shrunken cosine of the sets of users who had them."""

    name = "item-knn"
    config_class = ItemKNNConfig
    label = "Chosen by the same people"
    origin = "the same people"
    evidence = VoteEvidence("neighbour", "Chosen by the same people as {title}")
    config: ItemKNNConfig

    def _compare(self, dataset: Dataset, options: TrainOptions) -> Sparse:
        seen = seen_matrix(dataset)
        users = csr(seen.T)
        norms = np.sqrt(np.diff(users.indptr).astype(np.float32))
        starts = range(0, dataset.num_items, _ROWS_AT_ONCE)
        blocks = []
        for begin in options.progress.track(starts, "Comparing items", len(starts)):
            rows = slice(begin, begin + _ROWS_AT_ONCE)
            shared = (users[rows] @ seen).toarray()
            own = np.arange(len(shared))
            shared[own, begin + own] = 0.0
            denominator = norms[rows, None] * norms[None, :] + self.config.shrinkage
            # Items without users share nothing with anybody: 0 / max(0, tiny) = 0.
            cosines = shared / np.maximum(denominator, np.finfo(np.float32).tiny)
            blocks.append(top_of_rows(cosines, self.config.num_neighbours))
        return stacked(blocks, dataset.num_items)


class EASEConfig(ItemToItemConfig):
    """How much the weights are held back, and when the matrix is too large."""

    l2: float = Field(default=250.0, gt=0)
    """Ridge added to the diagonal, in users."""

    max_items: int = Field(default=30_000, ge=1)
    """Items with events above which training is refused: time grows with their number cubed,
    memory with 4 bytes of its square (30,000: 3.6 GB, about 5 minutes of one core)."""


class EASE(ItemToItem):
    """Weights of a ridge regression of every item on all others; items without events have none."""

    name = "ease"
    config_class = EASEConfig
    label = "Goes with the history, by linear regression"
    origin = "what goes with the history"
    evidence = VoteEvidence("neighbour", "Chosen by those who chose {title}")
    config: EASEConfig

    def _compare(self, dataset: Dataset, options: TrainOptions) -> Sparse:
        reached = np.flatnonzero(dataset.item_counts()).astype(np.int32)
        count, total = len(reached), dataset.num_items
        if count > self.config.max_items:
            raise DataError(
                f"model {self.name!r} inverts a matrix of all items and {count} items have "
                f"events; its limit is max_items = {self.config.max_items}.",
                "Leave the model out (item-knn does similar work), or raise max_items.",
            )
        if not count:
            return csr((total, total))
        inverse = _ridge_inverse(csr(seen_matrix(dataset)[:, reached]), self.config.l2)
        scale = -1.0 / inverse.diagonal()
        starts = range(0, count, _ROWS_AT_ONCE)
        blocks = []
        for begin in options.progress.track(starts, "Weighing items", len(starts)):
            weights = _rows_of_symmetric(inverse, begin, begin + _ROWS_AT_ONCE) * scale
            own = np.arange(len(weights))
            weights[own, begin + own] = 0.0
            blocks.append(top_of_rows(weights, self.config.num_neighbours))
        found = stacked(blocks, count).tocoo()
        return csr((found.data, (reached[found.row], reached[found.col])), (total, total))


def _ridge_inverse(seen: Sparse, l2: float) -> FloatArray:
    """Lower triangle of ``(X^T X + l2 I)^-1``; the upper one holds other numbers.

    Made where the Gram matrix stood, by Cholesky: one (N, N) float32 matrix in memory.

    Raises:
        DataError: l2 is too small for float32.
    """
    from scipy.linalg import lapack

    matrix = csr(seen.T @ seen).toarray(order="F")
    diagonal = np.arange(len(matrix))
    matrix[diagonal, diagonal] += l2
    factor, failed = lapack.spotrf(matrix, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise DataError(f"l2 = {l2} makes no matrix that can be inverted.", "Raise l2 of ease.")
    inverse: FloatArray = lapack.spotri(factor, lower=1, overwrite_c=1)[0]
    return inverse


def _rows_of_symmetric(lower: FloatArray, begin: int, end: int) -> FloatArray:
    """Full rows [begin, end) of a symmetric matrix of which only the lower triangle counts."""
    left = lower[begin:end, :begin]
    square = np.tril(lower[begin:end, begin:end])
    right = lower[end:, begin:end].T
    return np.concatenate([left, square + np.tril(square, -1).T, right], axis=1)
