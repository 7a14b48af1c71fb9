"""What a trained retriever has: ONNX context encoder, item vectors, item encoder arrays.

Shapes: N items, E size of their vectors, L code levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.artefact import Artefact
from serendip.data.rows.row_array import PackedRows, dot_items, dot_rows
from serendip.models.retriever.content_scores import ContentScores
from serendip.models.retriever.item_encoder import ItemEncoderArrays
from serendip.models.retriever.quality import QualityVector
from serendip.models.retriever.warm_start import RetrieverStart


@dataclass(frozen=True, slots=True, eq=False)
class TrainedRetriever(Artefact):
    """Result of training a retriever.

    Args:
        item_vectors: (N, E).
        projected: (N, E) projected content of the items; float16 in an opened artefact.
        bonus: (N,) float32 new item bonus, added to each item's scores.
        affinity: content scores, added to those of the network; None = no alignment.
        quality: item quality and its weights; None = quality is not used.
        countries: countries of home requests; empty = countries are not read.
        start: what a training on more events continues from; None in an opened artefact.
    """

    context: bytes
    item_vectors: FloatArray
    projected: FloatArray
    tower: ItemEncoderArrays
    bonus: FloatArray
    affinity: ContentScores | None = None
    num_parameters: int = 0
    quality: QualityVector | None = None
    countries: tuple[str, ...] = ()
    start: RetrieverStart | None = None

    def stored(self) -> dict[str, Any]:
        """Vectors are packed; projected content is in halves.

        A change of an item's words changes it by less than 8 bits can tell.
        """
        values = Artefact.stored(self) | {
            "item_vectors": PackedRows.of(self.item_vectors),
            "projected": np.asarray(self.projected, np.float16),
        }
        del values["start"]
        return values

    @property
    def added(self) -> FloatArray:
        """Query-independent part (N,) float32 of each item's scores: bonus and quality."""
        return self.bonus if self.quality is None else self.bonus + self.quality.added

    def scores_of(self, query: FloatArray, items: IntArray) -> FloatArray:
        """Scores (C,) of items, for an index vector (V,) of a query: their dot products.

        Parts in which the query is 0 are not read.
        """
        size = self.item_vectors.shape[1]
        scores = dot_items(self.item_vectors, items, query[:size]) + self.bonus[items]
        if self.affinity is not None:
            end = size + self.affinity.size
            scores += self.affinity.scores_of(query[size:end], items)
        if self.quality is not None:
            scores += self.quality.values[items] @ self.quality.weights
        return np.asarray(scores, np.float32)

    def scores_of_all(self, queries: FloatArray) -> FloatArray:
        """Scores (B, N) of all items, for index vectors (B, V) of queries."""
        size = self.item_vectors.shape[1]
        scores = dot_rows(queries[:, :size], self.item_vectors) + self.added
        if self.affinity is not None:
            scores += self.affinity.scores_of_all(queries[:, size : size + self.affinity.size])
        return scores
