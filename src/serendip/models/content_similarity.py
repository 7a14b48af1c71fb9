"""Content-based similarity: cosine between an item and the context's content vectors.

Shapes: B queries, N items, E content size, T distinct items of a context, C candidates.
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
from serendip.data.dataset import Dataset
from serendip.data.growing_rows import append_rows, dot_rows, replace_rows
from serendip.data.item_features import ItemFeatures
from serendip.data.query import Query
from serendip.errors import DataError
from serendip.models.base import Recommender, VoteEvidence
from serendip.models.context import build_context_matrix, compute_context_weights
from serendip.models.linalg import open_array, sum_rows
from serendip.runtime.progress import TrainOptions

_CONTENT_FILE = "content.npy"


class ContentSimilarityConfig(Config):
    """Weights of the events of a history."""

    decay: float = Field(default=0.5, gt=0, le=1)
    """Weight of an event relative to the next one."""


class ContentSimilarity(Recommender):
    """Score of j = weighted mean of the cosines of j with the items of the context, in [-1, 1]."""

    name = "content"
    config_class = ContentSimilarityConfig
    label = "What it is"
    score_kind = "similarity"
    evidence = VoteEvidence("content", "Similar to {title}", min_vote=0.3, covers_new_items=True)
    config: ContentSimilarityConfig
    zero_means_unknown = False

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        if dataset.features is None:
            raise DataError(
                f"model {self.name!r} needs content features and the dataset has none.",
                "Call dataset.with_features(build_features(...)) first.",
            )
        self._content: FloatArray = dataset.features.content  # (N, E)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        weights = build_context_matrix(queries, self._num_items, self.config.decay)
        if not weights.nnz:
            return np.zeros((len(queries), self._num_items), dtype=np.float32)
        totals = np.maximum(np.asarray(weights.sum(axis=1)).reshape(-1, 1), 1e-12)  # (B, 1)
        # Mean of dot products = dot product with the mean vector, and one product for all items.
        means = sum_rows(weights, self._content) / totals  # (B, E)
        return dot_rows(means.astype(np.float32), self._content)

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and their cosines (T, C) with C items."""
        items, _ = compute_context_weights(query, self.num_items, self.config.decay)
        return items, self._content[items] @ self._content[item_nums].T

    def _with_items(self, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        model._content = append_rows(self._content, features.content)
        return model

    def _with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        model._content = replace_rows(self._content, item_nums, features.content)
        return model

    def _save(self, folder: Path) -> None:
        np.save(folder / _CONTENT_FILE, self._content, allow_pickle=False)

    def _open(self, folder: Path) -> None:
        self._content = open_array(folder / _CONTENT_FILE)
