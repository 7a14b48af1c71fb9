"""What models of item sequences share: their config, how a history becomes scores, what is stored.

A history is read by one ONNX graph into a vector of the size of the items'; the score is their
cosine. Histories of one length go through the graph together, so nothing is padded and the graph
knows no padding. Training is torch and lives in ``sequence_training``.

Shapes: B queries, N items with a vector, T steps, D embedding size.

SASRec: what comes next by causal self-attention over the history (Kang and McAuley, 2018).

Here, other than there: sampled softmax instead of one negative per event (the loss, not the
architecture, held it back: Klenitskiy and Vasilev, 2023), negatives shared by a step, pre-norm
blocks whose feed-forward part may be wider, optionally gated blocks (LiGR), and item vectors that
begin at the eigenvectors of co-occurrence instead of anywhere.

GRU4Rec: what comes next by a recurrent network over the history (Hidasi et al., 2016).

Here, other than there: histories are packed instead of run in parallel lanes (the same steps and
the same state of zero at each start, but gradients reach back to the start of a history, not one
step); sampled softmax with uniform negatives instead of BPR-max or TOP1-max with items of the same
step; the item table is tied with the output.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from serendip.config import Config
from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset
from serendip.data.item_features import ItemFeatures
from serendip.data.query import Query
from serendip.errors import ArtefactError
from serendip.models.base import Recommender, ScoreKind
from serendip.models.linalg import open_array
from serendip.models.onnx import open_session, read_model
from serendip.models.sequence.config import (
    INPUT,
    GRU4RecConfig,
    SASRecConfig,
    SequenceConfig,
    TrainedSequences,
)
from serendip.models.sequence.cooccurrence import cooccurrence_vectors
from serendip.models.sequence.packing import Sequences, pack
from serendip.runtime.progress import TrainOptions

GRAPH_FILE, TABLE_FILE, VISITOR_FILE = "sequence.onnx", "items.npy", "visitor.npy"

_ROWS_AT_ONCE = 4_096
_SMALLEST = 1e-12


class SequenceRecommender(Recommender):
    """Scores items by the cosine of a history's vector with theirs.

    Items that come after training have no vector: in a history they are passed over, and their
    score is the lowest of the row.
    """

    score_kind: ClassVar[ScoreKind] = "similarity"
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


class SASRec(SequenceRecommender):
    """Self-attention over the most recent events."""

    name: ClassVar[str] = "sasrec"
    config_class: ClassVar[type[Config]] = SASRecConfig
    label: ClassVar[str] = "Next in the sequence, by self-attention"
    origin: ClassVar[str] = "what comes next by self-attention"
    config: SASRecConfig

    def _fit(self, dataset: Dataset, options: TrainOptions) -> TrainedSequences:
        from serendip.models.sequence.network import SASRecNetwork
        from serendip.models.sequence.train import train_sequences

        def network(past: Sequences) -> SASRecNetwork:
            made = SASRecNetwork(dataset.num_items, self.config)
            if self.config.start == "co-occurrence":
                size = self.config.embedding_size
                made.start_at(cooccurrence_vectors(past, dataset.num_items, size))
            return made

        return train_sequences(network, dataset, self.config, options)


class GRU4Rec(SequenceRecommender):
    """A gated recurrent unit over the most recent events."""

    name: ClassVar[str] = "gru4rec"
    config_class: ClassVar[type[Config]] = GRU4RecConfig
    label: ClassVar[str] = "Next in the sequence, by a recurrent network"
    origin: ClassVar[str] = "what comes next by a recurrent network"
    config: GRU4RecConfig

    def _fit(self, dataset: Dataset, options: TrainOptions) -> TrainedSequences:
        from serendip.models.sequence.network import GRU4RecNetwork
        from serendip.models.sequence.train import train_sequences

        def network(past: Sequences) -> GRU4RecNetwork:
            return GRU4RecNetwork(dataset.num_items, self.config)

        return train_sequences(network, dataset, self.config, options)
