"""What models of item sequences share: their config, how a history becomes scores, what is stored.

A history is read by one ONNX graph into a vector of the size of the items'; the score is their
cosine. Histories of one length go through the graph together, so nothing is padded and the graph
knows no padding. Training is torch and lives in ``sequence_training``.

Shapes: B queries, N items with a vector, T steps, D embedding size.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset
from serendip.data.item_features import ItemFeatures
from serendip.data.query import Query
from serendip.errors import ArtefactError
from serendip.models.base import Recommender
from serendip.models.linalg import open_array
from serendip.models.onnx import open_session, read_model
from serendip.models.sequence_batches import Sequences, pack
from serendip.scale.options import TrainOptions

GRAPH_FILE, TABLE_FILE, VISITOR_FILE = "sequence.onnx", "items.npy", "visitor.npy"
INPUT, OUTPUT = "history", "encoded"

_ROWS_AT_ONCE = 4_096
_SMALLEST = 1e-12


class SequenceConfig(Config):
    """Sizes and training that the models of sequences share."""

    embedding_size: int = Field(default=256, ge=1)
    """D, size of item and history vectors."""

    max_len: int = Field(default=50, ge=1)
    """Most recent events of a history that are read."""

    dropout: float = Field(default=0.4, ge=0, lt=1)
    """Share of values that is dropped while training."""

    temperature: float = Field(default=0.07, gt=0)
    """tau: what is trained are cosines / tau."""

    loss: Literal["sampled-softmax", "gbce", "bce"] = "sampled-softmax"
    """What is minimised; see ``sequence_losses``."""

    num_negatives: int = Field(default=1024, ge=1)
    """Uniform negatives of a step; catalogues up to twice as large are scored whole."""

    calibration: float = Field(default=0.75, ge=0, le=1)
    """t of gBCE."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Step size of Adam when training starts; it falls in a straight line over ``epochs``."""

    batch_size: int = Field(default=768, ge=1)
    """Events with a successor in a step, about."""

    epochs: int = Field(default=24, ge=1)
    """Most passes over the events."""

    validate_every: int = Field(default=4, ge=1)
    """Passes between two validations."""

    patience: int = Field(default=2, ge=1)
    """Validations without a better nDCG@10 before training stops."""

    most_validated: int = Field(default=5_000, ge=0)
    """Users whose last event is held back to stop by where the dataset says none; at most a tenth
    of the users."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedSequences:
    """Everything that training leaves behind.

    Args:
        graph: ONNX bytes, table rows (rows, T, D) -> history vectors (rows, D) of any length.
        table: (N, D) item embeddings, read as they are and scored as unit vectors.
        visitor: (D,) unit vector for those who have no history: the middle of all.
    """

    graph: bytes
    table: FloatArray
    visitor: FloatArray


class SequenceRecommender(Recommender):
    """Scores items by the cosine of a history's vector with theirs.

    Items that come after training have no vector: in a history they are passed over, and their
    score is the lowest of the row.
    """

    zero_means_unknown: ClassVar[bool] = False
    config: SequenceConfig

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self._trained: TrainedSequences
        self._session: Any = None
        self._unit_items: FloatArray

    @property
    def item_vectors(self) -> FloatArray:
        """(N, D) float32 unit vectors of the items that were there in training."""
        self._require_trained()
        return self._unit_items

    @abstractmethod
    def _fit(self, dataset: Dataset, options: TrainOptions) -> TrainedSequences: ...

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        self._use(self._fit(dataset, options))

    def _use(self, trained: TrainedSequences) -> None:
        self._trained = trained
        self._session = open_session(trained.graph)
        self._unit_items = _unit(trained.table)

    def encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        """(B, D) float32 unit vectors: ``encode_queries(q) @ item_vectors.T`` are the scores."""
        self._require_trained()
        table = self._trained.table
        sequences = Sequences.of_queries(queries, len(table)).last(self.config.max_len)
        encoded = np.repeat(self._trained.visitor[None], len(queries), 0)
        filled = np.flatnonzero(sequences.lengths)
        packed = pack(sequences, filled)
        steps, end = sequences.items[packed.events], 0
        for first, rows, length in packed.blocks:
            block = steps[first : first + rows * length].reshape(rows, length)
            for start in range(0, rows, _ROWS_AT_ONCE):
                feed = {INPUT: table[block[start : start + _ROWS_AT_ONCE]]}
                part = self._session.run(None, feed)[0]
                encoded[packed.rows[end : end + len(part)]] = _unit(part)
                end += len(part)
        return encoded

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        vectors = self._unit_items
        scores = np.empty((len(queries), self._num_items), np.float32)
        known = scores[:, : len(vectors)]
        np.matmul(self.encode_queries(queries), vectors.T, out=known)
        if known.shape != scores.shape:
            scores[:, len(vectors) :] = known.min(1, keepdims=True)
        return scores

    def _with_items(self, features: ItemFeatures) -> Self:
        return copy.copy(self)

    def _save(self, folder: Path) -> None:
        (folder / GRAPH_FILE).write_bytes(self._trained.graph)
        np.save(folder / TABLE_FILE, self._trained.table, allow_pickle=False)
        np.save(folder / VISITOR_FILE, self._trained.visitor, allow_pickle=False)

    def _open(self, folder: Path) -> None:
        graph = read_model(folder / GRAPH_FILE)
        table, visitor = (open_array(folder / file) for file in (TABLE_FILE, VISITOR_FILE))
        if table.ndim != 2 or visitor.shape != table.shape[1:]:
            raise ArtefactError(f"{folder} holds vectors of shapes that do not fit together.")
        self._use(TrainedSequences(graph, table, visitor))


def _unit(vectors: FloatArray) -> FloatArray:
    """Rows of length 1; a row of zeros stays one."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SMALLEST)
    return np.asarray(vectors / lengths, dtype=np.float32)
