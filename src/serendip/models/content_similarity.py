"""More like this: cosine between an item and what the context's items are made of."""

from __future__ import annotations

import copy
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
from serendip.models.linalg import open_array, with_rows
from serendip.runtime.progress import TrainOptions

_CONTENT_FILE = "content.npy"


class ContentSimilarityConfig(Config):
    """How a history becomes one vector."""

    decay: float = Field(default=0.5, gt=0, le=1)
    """Weight of an event relative to the one after it."""


class ContentSimilarity(Recommender):
    """Score of j = cosine of j to each item of the context, averaged by weight; in [-1, 1]."""

    name = "content"
    config_class = ContentSimilarityConfig
    label = "What it is"
    score_kind = "similarity"
    evidence = VoteEvidence("content", "Similar to {title}", least_vote=0.3, covers_new_items=True)
    config: ContentSimilarityConfig
    zero_means_unknown = False

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        if dataset.features is None:
            raise DataError(
                f"model {self.name!r} needs content features and the dataset has none.",
                "Call dataset.with_features(build_features(...)) first.",
            )
        self._content: FloatArray = dataset.features.content

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        weights = context_matrix(queries, self._num_items, self.config.decay)
        if not weights.nnz:
            return np.zeros((len(queries), self._num_items), dtype=np.float32)
        totals = np.maximum(np.asarray(weights.sum(axis=1)).reshape(-1, 1), 1e-12)
        means = (weights @ self._content) / totals
        return np.asarray(means.astype(np.float32) @ self._content.T, dtype=np.float32)

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and their cosines (T, C) with some items."""
        items, _ = context_weights(query, self.num_items, self.config.decay)
        return items, self._content[items] @ self._content[item_nums].T

    def _with_items(self, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        model._content = np.concatenate([self._content, features.content])
        return model

    def _with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        model._content = with_rows(self._content, item_nums, features.content)
        return model

    def _save(self, folder: Path) -> None:
        np.save(folder / _CONTENT_FILE, self._content, allow_pickle=False)

    def _open(self, folder: Path) -> None:
        self._content = open_array(folder / _CONTENT_FILE)
