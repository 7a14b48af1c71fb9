"""Content-based similarity: cosine between an item and the context's content vectors.

Shapes: B queries, N items, E content size, T distinct items of a context, C candidates.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.items.features import ItemFeatures
from serendip.data.query import History, Query
from serendip.data.rows.growing_rows import append_rows, replace_rows
from serendip.data.rows.packed_rows import open_packed, packed_arrays
from serendip.data.rows.row_array import dot_items, dot_rows
from serendip.data.rows.strings import open_arrays, save_arrays
from serendip.errors import ArtefactError, DataError
from serendip.models.base import Recommender, VoteEvidence
from serendip.models.context import average_contexts, compute_context_weights, compute_contexts
from serendip.models.index.vector_index import EXACT_UP_TO, ServedIndex
from serendip.models.query_scores import QueryScores, VectorScores
from serendip.runtime.progress import TrainOptions

_ARRAYS_FOLDER, _INDEX_FOLDER = "arrays", "index"


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
    evidence = VoteEvidence(
        "content",
        "Similar to {title}",
        min_vote=0.3,
        covers_new_items=True,
        korean="‘{title}’{title:과/와} 비슷합니다",
    )
    config: ContentSimilarityConfig
    zero_means_unknown = False

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        if dataset.features is None:
            raise DataError(
                f"model {self.name!r} needs content features and the dataset has none.",
                "Call dataset.with_features(build_features(...)) first.",
            )
        self._use(dataset.features.content)

    def _use(self, content: FloatArray, index: ServedIndex | None = None) -> None:
        """Serve content vectors (N, E) and their index; None = built on first use."""
        self._content, self._index = content, index or ServedIndex()

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        # Mean of dot products = dot product with the mean vector, and one product for all items.
        return dot_rows(self.encode_queries(queries), self._content)

    def _query_scores(self, queries: Sequence[Query]) -> QueryScores | None:
        if self._num_items <= EXACT_UP_TO:
            return None
        means = self.encode_queries(queries)  # (B, E)

        def score(row: int, items: IntArray) -> FloatArray:
            return dot_items(self._content, items, means[row])

        def score_all() -> FloatArray:
            return dot_rows(means, self._content)

        return VectorScores(self._index.of(self), means, score, self._num_items, score_all)

    def encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        """(B, E) float32 weighted means of the content of each context; zeros without one."""
        contexts = compute_contexts(queries, self._num_items, self.config.decay)
        return average_contexts(contexts, self._content)

    def vectors_of(self, items: NDArray[np.integer]) -> FloatArray:
        """(M, E) content vectors of items."""
        vectors: FloatArray = self._content[items]
        return vectors

    def typical_queries(self, contexts: Sequence[IntArray]) -> list[Query]:
        """Histories, and single source items."""
        return [
            Query(history=History.of_items(context))
            if row % 2
            else Query("similar", source_items=context[-1:])
            for row, context in enumerate(contexts)
        ]

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and their cosines (T, C) with C items."""
        items, _ = compute_context_weights(query, self.num_items, self.config.decay)
        return items, self._content[items] @ self._content[item_nums].T

    def _with_items(self, features: ItemFeatures) -> Self:
        model, old = copy.copy(self), len(self._content)
        model._content = append_rows(self._content, features.content)
        new = np.arange(old, len(model._content), dtype=np.int32)
        model._index = self._index.with_late(model, new)
        return model

    def _with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        model._content = replace_rows(self._content, item_nums, features.content)
        model._index = self._index.with_late(model, item_nums)
        return model

    def _save(self, folder: Path) -> None:
        save_arrays(folder / _ARRAYS_FOLDER, packed_arrays("content", self._content))
        self._index.save(self, folder / _INDEX_FOLDER)

    def _open(self, folder: Path) -> None:
        try:
            content = open_packed("content", open_arrays(folder / _ARRAYS_FOLDER))
        except KeyError as error:
            raise ArtefactError(
                f"{folder} has no array {error} of content vectors.", "Train the model again."
            ) from None
        self._use(content, ServedIndex.open(folder / _INDEX_FOLDER))
