"""Sequential recommenders SASRec and GRU4Rec: next-item prediction from the order of a history.

One ONNX graph encodes a history into a vector of the items' size; the score is their cosine.
Histories of equal length pass the graph together, so there is no padding. Training uses torch
(``sequence/train.py``).

SASRec: causal self-attention over the history (Kang and McAuley, 2018). Differences: sampled
softmax instead of one negative per event (the loss, not the architecture, limited it: Klenitskiy
and Vasilev, 2023), negatives shared by a training step, pre-norm blocks whose feed-forward layer
may be wider, and item embeddings that start at the eigenvectors of co-occurrence instead of at
random.

GRU4Rec: a recurrent network over the history (Hidasi et al., 2016). Differences: histories are
packed instead of run in session-parallel mini-batches (same steps and same zero state at each
start, but backpropagation reaches the start of a history instead of one step); sampled softmax with
uniform negatives instead of BPR-max or TOP1-max with in-batch negatives; input and output share the
item table.

Shapes: B queries, N items with a vector, T steps, D embedding size.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from serendip.config import Config
from serendip.data import Dataset, FloatArray, Query
from serendip.data.numeric import unit
from serendip.models.base import Recommender, ScoreKind
from serendip.models.onnx import open_session
from serendip.models.sequence.config import (
    INPUT,
    GRU4RecConfig,
    SASRecConfig,
    SequenceConfig,
    TrainedSequences,
)
from serendip.models.sequence.packing import Sequences, cooccurrence_vectors, pack
from serendip.runtime.progress import TrainOptions

_ROWS_AT_ONCE = 4_096
_SMALLEST = 1e-12


class SequenceRecommender(Recommender):
    """Sequential recommender: scores are cosines of a history vector with item vectors.

    Items added after training have no vector: they are skipped in histories, and their score is the
    lowest of the row.
    """

    score_kind: ClassVar[ScoreKind] = "similarity"
    zero_means_unknown: ClassVar[bool] = False
    state: ClassVar[tuple[str, ...]] = ("_trained",)
    config: SequenceConfig

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self._trained: TrainedSequences
        self._session: Any = None
        self._unit_items: FloatArray

    @property
    def item_vectors(self) -> FloatArray:
        """(N, D) float32 unit vectors of the items seen in training."""
        self._require_trained()
        return self._unit_items

    @abstractmethod
    def _fit(self, dataset: Dataset, options: TrainOptions) -> TrainedSequences: ...

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        self._use(self._fit(dataset, options))

    def _use(self, trained: TrainedSequences) -> None:
        self._trained = trained
        self._session = open_session(trained.graph)
        self._unit_items = unit(trained.table, _SMALLEST)

    def encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        """(B, D) float32 unit vectors: ``encode_queries(q) @ item_vectors.T`` are the scores."""
        self._require_trained()
        table = self._trained.table
        sequences = Sequences.of_queries(queries, len(table)).last(self.config.max_len)
        encoded = np.repeat(self._trained.visitor[None], len(queries), 0)  # (B, D)
        filled = np.flatnonzero(sequences.lengths)
        packed = pack(sequences, filled)
        steps, end = sequences.items[packed.events], 0
        for first, rows, length in packed.blocks:
            block = steps[first : first + rows * length].reshape(rows, length)
            for start in range(0, rows, _ROWS_AT_ONCE):
                feed = {INPUT: table[block[start : start + _ROWS_AT_ONCE]]}  # (rows, length, D)
                part = self._session.run(None, feed)[0]  # (rows, D)
                encoded[packed.rows[end : end + len(part)]] = unit(part, _SMALLEST)
                end += len(part)
        return encoded

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        scores: FloatArray = self.encode_queries(queries) @ self._unit_items.T  # (B, N)
        return scores

    def _restore(self, learned: Mapping[str, Any]) -> None:
        self._use(learned["_trained"])


class SASRec(SequenceRecommender):
    """SASRec: causal self-attention over the most recent events."""

    name: ClassVar[str] = "sasrec"
    config_class: ClassVar[type[Config]] = SASRecConfig
    label: ClassVar[str] = "Next in the sequence, by self-attention"
    origin: ClassVar[str] = "what comes next by self-attention"
    config: SASRecConfig

    def _fit(self, dataset: Dataset, options: TrainOptions) -> TrainedSequences:
        from serendip.models.sequence.network import SASRecNetwork
        from serendip.models.sequence.train import train_sequences

        def network(past: Sequences) -> SASRecNetwork:
            module, size = SASRecNetwork(dataset.num_items, self.config), self.config.embedding_size
            module.start_at(cooccurrence_vectors(past, dataset.num_items, size, options))
            return module

        return train_sequences(network, dataset, self.config, options)


class GRU4Rec(SequenceRecommender):
    """GRU4Rec: a gated recurrent unit over the most recent events."""

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
