"""People who had this also had that: item-based collaborative filtering.

Similarity of two items = cosine of their user sets with a shrunken denominator, so that two items
that share their only user are not taken for twins. Item-based neighbourhoods follow Deshpande &
Karypis 2004, "Item-based top-N recommendation algorithms"; different here: the events of a history
lose weight with age and likes weigh more.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset, ItemFeatures
from serendip.data.query import Query
from serendip.models.base import Recommender
from serendip.models.neighbours import top_of_rows
from serendip.models.query_weights import context_matrix, context_weights
from serendip.models.sparse import Sparse, columns_of, csr, open_csr, resized, save_csr, stacked
from serendip.scale.options import TrainOptions

_MATRIX_FILE = "similarities.safetensors"
_ROWS_AT_ONCE = 1024


class ItemKNNConfig(Config):
    """How items are compared and how a history votes."""

    num_neighbours: int = Field(default=200, ge=1)
    """Similar items kept per item."""

    shrinkage: float = Field(default=10.0, ge=0)
    """Added to the denominator of the cosine, in users."""

    decay: float = Field(default=0.5, gt=0, le=1)
    """Weight of an event relative to the one after it."""

    like_weight: float = Field(default=1.0, gt=0)
    """How much more a like votes than a mere contact."""


class ItemKNN(Recommender):
    """Score of j = sum over the context of weight(i) * similarity(i, j)."""

    name = "item-knn"
    config_class = ItemKNNConfig
    config: ItemKNNConfig

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        seen = _seen_matrix(dataset)
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
        self._similarities: Sparse = stacked(blocks, dataset.num_items)

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


def _seen_matrix(dataset: Dataset) -> Sparse:
    """(users, N) float32: 1 where the user had the item, however often."""
    events = dataset.events
    ones = np.ones(len(events), dtype=np.float32)
    shape = (dataset.num_users, dataset.num_items)
    seen = csr((ones, (events.users, events.items)), shape)
    seen.sum_duplicates()
    seen.data[:] = 1.0
    return seen
