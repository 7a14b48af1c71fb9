"""item2vec: item embeddings by skip-gram with negative sampling over histories.

Items stand for words and histories for sentences (Barkan & Koenigstein 2016, "Item2Vec",
arXiv:1603.04259). Values that word2vec fixes for language are options here, above all the exponent
of the negatives, since the best ones for items differ (Caselles-Dupre, Lesaint & Royo-Letelier
2018, "Word2vec applied to recommendation: hyperparameters matter", arXiv:1804.04212). Events of a
history lose weight with age. The model is a table, so there is no network to export.

The objective is word2vec's, but pairs are counted once instead of being sampled in every epoch: a
pair ``g`` positions apart counts ``1 - (g - 1) / window``, the probability that a window of random
width contains it, times the probability that subsampling keeps both items. A step takes some items
with all their pairs,

    sum_j pairs[i, j] log sigma(u_i v_j) + k pairs[i, :].sum() E[log sigma(-u_i v_n)],

where the expectation over negatives n is the mean over a draw shared by the items of the step (the
sum of Levy & Goldberg 2014, "Neural Word Embedding as Implicit Matrix Factorization"). So all work
is matrix products, and the more often pairs repeat, the more is saved. The optimiser is AdaGrad,
since rows differ in weight by orders of magnitude.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset, pairs_by_gap
from serendip.data.item_features import ItemFeatures
from serendip.data.numeric import unit
from serendip.data.query import Query
from serendip.models.base import Recommender, VoteEvidence
from serendip.models.context import context_matrix, context_weights
from serendip.models.linalg import Sparse, csr, open_array, scaled_rows
from serendip.runtime.progress import TrainOptions

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
    label = "Found in the same histories"
    origin = "the same histories"
    score_kind = "similarity"
    evidence = VoteEvidence("neighbour", "Found in the same histories as {title}", least_vote=0.3)
    config: Item2VecConfig

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        pairs = count_pairs(dataset, self.config.window, self.config.subsampling)
        training = Item2VecTraining(pairs, self.config, options.seed)
        self._vectors: FloatArray = training.run(options)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        sums = context_matrix(queries, self._num_items, self.config.decay) @ self._vectors
        scores: FloatArray = unit(sums, _TINY) @ self._vectors.T
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


_PAIRS_AT_ONCE = 16_384
_SHARED_NEGATIVES = 512


def count_pairs(dataset: Dataset, window: int, subsampling: float) -> Sparse:
    """(N, N) symmetric: how often two different items are expected in one window."""
    shape = (dataset.num_items, dataset.num_items)
    pairs = csr(shape)
    log = dataset.events
    for gap, source, target in pairs_by_gap(log.users, log.items, window):
        values = np.full(len(source), 1 - (gap - 1) / window, dtype=np.float32)
        pairs += csr((values, (source, target)), shape)
    pairs = csr(pairs + pairs.T)
    if subsampling:
        share = dataset.item_counts() / max(1, len(dataset.events))
        ratio = subsampling / np.maximum(share, _TINY)
        kept = np.minimum(1.0, np.sqrt(ratio) + ratio).astype(np.float32)
        pairs = scaled_rows(pairs, kept)
        pairs.data *= kept[pairs.indices]
    return pairs


class Item2VecTraining:
    """One training run: vectors of items as what is seen (inner) and as what is beside it (outer).

    Args:
        pairs: (N, N) from ``count_pairs``.
        config: sizes and rates.
        seed: root of the first vectors, the order of items and the negatives.
    """

    def __init__(self, pairs: Sparse, config: Item2VecConfig, seed: int) -> None:
        self.pairs, self.config = pairs, config
        self.random = np.random.default_rng(seed)
        shape = (pairs.shape[0], config.embedding_size)
        first = self.random.uniform(-0.5, 0.5, shape) / config.embedding_size
        self.inner: FloatArray = first.astype(np.float32)
        self.outer: FloatArray = np.zeros(shape, dtype=np.float32)
        self.squares = (np.zeros_like(self.inner), np.zeros_like(self.outer))
        self.totals: FloatArray = np.asarray(pairs.sum(axis=1), dtype=np.float32)
        self.reached = np.flatnonzero(self.totals > 0)
        chances = self.totals[self.reached].astype(np.float64) ** config.negative_exponent
        self.chances = np.cumsum(chances / chances.sum())

    def run(self, options: TrainOptions) -> FloatArray:
        """Unit vectors (N, D) of the items; zero for an item that is in no pair."""
        epochs = range(self.config.epochs if len(self.reached) else 0)
        for epoch in options.progress.track(epochs, "Training item2vec", len(epochs)):
            rate = self.config.learning_rate * (1 - epoch / len(epochs))
            for items in self._batches():
                self._step(items, rate)
        vectors = np.zeros_like(self.inner)
        vectors[self.reached] = unit(self.inner[self.reached], _TINY)
        return vectors

    def _batches(self) -> Iterator[IntArray]:
        """All items that are in pairs, shuffled, in groups of about ``_PAIRS_AT_ONCE`` pairs."""
        order = self.random.permutation(self.reached)
        sums = np.cumsum(np.diff(self.pairs.indptr)[order])
        cuts = np.flatnonzero(np.diff(sums // _PAIRS_AT_ONCE)) + 1
        yield from np.split(order, cuts)

    def _step(self, items: IntArray, rate: float) -> None:
        from scipy.special import expit

        block = self.pairs[items]
        drawn = np.searchsorted(self.chances, self.random.random(_SHARED_NEGATIVES), side="right")
        negatives, times = np.unique(drawn.clip(max=len(self.reached) - 1), return_counts=True)
        negatives = self.reached[negatives]
        touched = np.unique(np.concatenate([block.indices, negatives]))
        beside = np.searchsorted(touched, block.indices)
        pushed = np.searchsorted(touched, negatives)
        inner, outer = self.inner[items], self.outer[touched]
        own = np.repeat(np.arange(len(items)), np.diff(block.indptr))
        logits = np.einsum("pd,pd->p", inner[own], outer[beside])
        shape = (len(items), len(touched))
        pull = csr((block.data * expit(-logits), beside, block.indptr), shape)
        share = np.float32(self.config.num_negatives / _SHARED_NEGATIVES)
        push = expit(inner @ outer[pushed].T) * (self.totals[items, None] * (share * times))
        push = push.astype(np.float32)
        slope = pull.T @ inner
        slope[pushed] -= push.T @ inner
        self._climb(0, items, pull @ outer - push @ outer[pushed], rate)
        self._climb(1, touched, slope, rate)

    def _climb(self, side: int, rows: IntArray, slope: FloatArray, rate: float) -> None:
        """AdaGrad: every number moves by its slope over the root of its squared slopes so far."""
        vectors, squares = (self.inner, self.outer)[side], self.squares[side]
        sums = squares[rows] + slope * slope
        squares[rows] = sums
        vectors[rows] += np.float32(rate) * slope / np.sqrt(sums + _TINY)
