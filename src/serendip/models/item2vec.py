"""Items that stand in the same places of histories have the same vector: item2vec.

Skip-gram with negative sampling with items for words and histories for sentences (Barkan &
Koenigstein 2016, "Item2Vec", arXiv:1603.04259). What word2vec fixes for language is open here,
above all the exponent of the negatives, since the best values for items lie elsewhere
(Caselles-Dupre, Lesaint & Royo-Letelier 2018, "Word2vec applied to recommendation:
hyperparameters matter", arXiv:1804.04212). Different here: pairs are counted once instead of being
drawn (``item2vec_training``), and the events of a history lose weight with age.

What is learned is a table, so there is no network to export: the saved vectors are the model.
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
from serendip.data.item_features import ItemFeatures
from serendip.data.query import Query
from serendip.models.base import Recommender
from serendip.models.query_weights import context_matrix, context_weights
from serendip.models.sparse import open_array
from serendip.scale.options import TrainOptions

_VECTORS_FILE = "vectors.npy"
_TINY = 1e-12


class Item2VecConfig(Config):
    """How vectors are learned and how a history becomes one of them."""

    embedding_size: int = Field(default=64, ge=1)
    """D."""

    window: int = Field(default=5, ge=1)
    """Items this many places apart still count as a pair; nearer ones count more."""

    epochs: int = Field(default=40, ge=1)
    """Passes over all pairs."""

    num_negatives: float = Field(default=5.0, gt=0)
    """Weight of the negatives relative to the pairs (word2vec draws so many for each pair)."""

    negative_exponent: float = 0.5
    """Negatives are drawn by frequency to this power: 1 = as often as in the log, 0 = alike,
    below 0 = rare items more often."""

    subsampling: float = Field(default=0.0, ge=0)
    """Items of a larger share of the log than this are partly left out; 0 = none is."""

    learning_rate: float = Field(default=0.2, gt=0)
    """First step of AdaGrad; falls to 0 in a straight line."""

    decay: float = Field(default=0.5, gt=0, le=1)
    """Weight of an event relative to the one after it."""


class Item2Vec(Recommender):
    """Score of j = cosine of j's vector with the weighted mean of the context's; in [-1, 1].

    Items without a neighbour in any history have no vector and score 0.
    """

    name = "item2vec"
    config_class = Item2VecConfig
    config: Item2VecConfig

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        from serendip.models.item2vec_training import Item2VecTraining, count_pairs

        pairs = count_pairs(dataset, self.config.window, self.config.subsampling)
        training = Item2VecTraining(pairs, self.config, options.seed)
        self._vectors: FloatArray = training.run(options)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        sums = context_matrix(queries, self._num_items, self.config.decay) @ self._vectors
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        scores: FloatArray = (sums / np.maximum(lengths, _TINY)) @ self._vectors.T
        return scores

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and what each gives (T, C) to the scores of some items.

        The votes for an item add up to its score.
        """
        items, weights = context_weights(query, self.num_items, self.config.decay)
        weighted = weights[:, None] * self._vectors[items]
        length = np.maximum(np.linalg.norm(weighted.sum(axis=0)), _TINY)
        return items, (weighted / length) @ self._vectors[item_nums].T

    def _with_items(self, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        unknown = np.zeros((len(features), self.config.embedding_size), np.float32)
        model._vectors = np.concatenate([self._vectors, unknown])
        return model

    def _save(self, folder: Path) -> None:
        np.save(folder / _VECTORS_FILE, self._vectors, allow_pickle=False)

    def _open(self, folder: Path) -> None:
        self._vectors = open_array(folder / _VECTORS_FILE)
