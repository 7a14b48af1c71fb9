"""Trained retriever and its artefact files: ONNX context encoder, item vectors, item encoder
arrays.

Shapes: N items, E size of their vectors, L code levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.rows.packed_rows import open_packed, packed_arrays
from serendip.data.rows.row_array import dot_items, dot_rows
from serendip.data.rows.strings import open_arrays, save_arrays
from serendip.models.onnx import read_model
from serendip.models.retriever.config import RetrieverConfig
from serendip.models.retriever.content_scores import ContentScores
from serendip.models.retriever.item_encoder import ItemEncoderArrays
from serendip.models.retriever.quality import QualityVector
from serendip.models.retriever.warm_start import RetrieverStart

CONTEXT_FILE, ARRAYS_FOLDER = "context.onnx", "arrays"
_QUALITY, _WEIGHTS = "quality", "quality_weights"


@dataclass(frozen=True, slots=True, eq=False)
class TrainedRetriever:
    """Result of training a retriever.

    Args:
        context: ONNX bytes of the context encoder.
        item_vectors: (N, E).
        projected: (N, E) projected content of the items; float16 in an opened artefact.
        tower: encoder of query texts and of new items.
        bonus: (N,) float32 new item bonus, added to each item's scores.
        affinity: content scores, added to those of the network; None = no alignment.
        num_parameters: trained parameters of the network.
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


def save_trained(trained: TrainedRetriever, codes: IntArray, folder: Path) -> None:
    """Write the artefact into an existing folder: a network, and arrays that are mapped.

    Args:
        trained: the trained retriever.
        codes: (N, L) semantic IDs of the items.
        folder: folder to write to.
    """
    (folder / CONTEXT_FILE).write_bytes(trained.context)
    tower, affinity, quality = trained.tower, trained.affinity, trained.quality
    arrays: dict[str, Any] = {
        "codes": codes,
        **packed_arrays("item_vectors", trained.item_vectors),
        # In halves: a change of an item's words changes it by less than 8 bits can tell.
        "projected": np.asarray(trained.projected, np.float16),
        "weight": tower.weight,
        "bias": tower.bias,
        "tables": tower.tables,
        **packed_arrays("ids", tower.ids),
        "bonus": trained.bonus,
        "num_parameters": np.asarray([trained.num_parameters]),
        "donors": tower.donors,
        # Content scores have the same content as the donors.
        **(packed_arrays("donor_content", tower.donor_content) if affinity is None else {}),
        **({} if affinity is None else affinity.arrays()),
        **({} if quality is None else {_QUALITY: quality.values, _WEIGHTS: quality.weights}),
        **({} if tower.token_table is None else {"token_table": tower.token_table}),
        **({"countries": np.array(trained.countries, str)} if trained.countries else {}),
    }
    save_arrays(folder / ARRAYS_FOLDER, arrays)


def open_trained(folder: Path, config: RetrieverConfig) -> tuple[TrainedRetriever, IntArray]:
    """Read an artefact of ``save_trained``: trained retriever and codes (N, L).

    Raises:
        ArtefactError: a file is missing or unreadable.
    """
    stored = open_arrays(folder / ARRAYS_FOLDER)
    vectors, affinity = open_packed("item_vectors", stored), ContentScores.of_arrays(stored)
    trained = TrainedRetriever(
        read_model(folder / CONTEXT_FILE),
        vectors,
        stored["projected"],
        _tower(stored, vectors.shape[1], affinity, config),
        stored["bonus"],
        affinity,
        int(stored["num_parameters"][0]),
        QualityVector(stored[_QUALITY], stored[_WEIGHTS]) if _QUALITY in stored else None,
        tuple(stored["countries"].tolist()) if "countries" in stored else (),
    )
    return trained, stored["codes"]


def _tower(
    stored: Mapping[str, NDArray[Any]],
    size: int,
    affinity: ContentScores | None,
    config: RetrieverConfig,
) -> ItemEncoderArrays:
    aligned = None if affinity is None else affinity.aligned
    content = open_packed("donor_content", stored) if aligned is None else aligned
    return ItemEncoderArrays(
        stored["weight"],
        stored["bias"],
        stored["tables"],
        open_packed("ids", stored),
        cast("FloatArray", content),
        config.num_id_donors,
        config.reads("content"),
        None if aligned is None else aligned.projection,
        size - config.embedding_size,
        stored.get("token_table"),
        stored["donors"],
    )
