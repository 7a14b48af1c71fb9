"""What the models share that are one sparse matrix of weights from item to item.

They differ in how they find the matrix; asking, explaining, growing and saving are the same.
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
from serendip.models.base import Recommender
from serendip.models.query_weights import context_matrix, context_weights
from serendip.models.sparse import Sparse, columns_of, csr, open_csr, resized, save_csr
from serendip.scale.options import TrainOptions

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
