"""item2vec: item embeddings by skip-gram with negative sampling over histories.

Items are the words and histories the sentences (Barkan & Koenigstein 2016, "Item2Vec",
arXiv:1603.04259). Values that word2vec fixes for language are hyperparameters here, above all the
exponent of the negatives, since the best ones for items differ (Caselles-Dupre, Lesaint &
Royo-Letelier 2018, "Word2vec applied to recommendation: hyperparameters matter", arXiv:1804.04212).
When scoring, events of a history lose weight with age. The model is an embedding table, so there is
no network to export.

The objective is word2vec's, but pairs are counted once instead of being sampled in every epoch: a
pair ``g`` positions apart has the weight ``1 - (g - 1) / window``, the probability that a window of
random width contains it, times the probability that subsampling keeps both items. A step maximises,
for a batch of items i with all their pairs,

    sum_j pairs[i, j] log sigma(u_i v_j) + k pairs[i, :].sum() E[log sigma(-u_i v_n)],

where the expectation over negatives n is the mean over a sample shared by the items of the step
(the objective as in Levy & Goldberg 2014, "Neural Word Embedding as Implicit Matrix
Factorization"). All work is matrix products, and repeated pairs cost nothing. The optimiser is
AdaGrad (Duchi et al. 2011), since the weights of rows differ by orders of magnitude.

Shapes: N items, D embedding size, I items of a step, P their pairs, U distinct outer items of a
step, S distinct negatives, B queries, T distinct items of a context, C candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data import Dataset, FloatArray, IntArray, Query, dot_rows
from serendip.data.numeric import unit
from serendip.models.base import Recommender, VoteEvidence
from serendip.models.context import build_context_matrix, compute_context_weights
from serendip.models.linalg import Sparse, sum_rows, to_csr
from serendip.models.sparse.pair_counts import PairCounter
from serendip.runtime.progress import TrainOptions

_TINY = 1e-12


class Item2VecConfig(Config):
    """Hyperparameters of item2vec, and the weights of the events of a history."""

    embedding_size: int = Field(default=64, ge=1)
    """D, size of the item vectors."""

    window: int = Field(default=5, ge=1)
    """Largest distance of two events in a history that form a pair; nearer pairs weigh more."""

    epochs: int = Field(default=40, ge=1)
    """Passes over all pairs."""

    num_negatives: float = Field(default=5.0, gt=0)
    """k, weight of the negatives relative to the pairs (in word2vec, the negatives per pair)."""

    negative_exponent: float = 0.5
    """Negatives are sampled in proportion to frequency to this power: 1 = as in the log, 0 =
    uniformly, below 0 = rare items more often."""

    learning_rate: float = Field(default=0.2, gt=0)
    """Initial learning rate of AdaGrad; falls linearly to 0."""

    decay: float = Field(default=0.5, gt=0, le=1)
    """Weight of an event relative to the next one."""


class Item2Vec(Recommender):
    """Score of j = cosine of its vector with the weighted mean of the context's, in [-1, 1].

    Items that are in no pair have zero vectors and score 0.
    """

    name = "item2vec"
    config_class = Item2VecConfig
    label = "Found in the same histories"
    origin = "the same histories"
    score_kind = "similarity"
    evidence = VoteEvidence(
        "neighbour",
        "Found in the same histories as {title}",
        korean="‘{title}’{title:과/와} 같은 이력에 있습니다",
    )
    state = ("_vectors",)
    least_vote = 0.3
    config: Item2VecConfig

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        pairs = count_pairs(dataset, self.config.window, options)
        training = Item2VecTraining(pairs, self.config, options.seed)
        self._vectors: FloatArray = training.run(options)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        context = build_context_matrix(queries, self._num_items, self.config.decay)  # (B, N)
        return dot_rows(unit(sum_rows(context, self._vectors), _TINY), self._vectors)  # (B, N)

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and their contributions (T, C) to the scores of C items.

        The contributions to an item's score add up to it.
        """
        items, weights = compute_context_weights(query, self.num_items, self.config.decay)
        weighted = weights[:, None] * self._vectors[items]  # (T, D)
        length = np.maximum(np.linalg.norm(weighted.sum(axis=0)), _TINY)
        return items, (weighted / length) @ self._vectors[item_nums].T


_PAIRS_PER_STEP = 16_384
_SHARED_NEGATIVES = 512
"""Negatives drawn per step, shared by its items."""


def count_pairs(dataset: Dataset, window: int, options: TrainOptions | None = None) -> Sparse:
    """Count the expected co-occurrences (N, N) of two different items in a window; symmetric."""
    log = dataset.events
    weights = (1 - np.arange(window) / window).astype(np.float32)
    counter = PairCounter(log.users, log.items, dataset.num_items, weights, weights)
    return counter.count(options)


class Item2VecTraining:
    """Training run: inner vectors u (items, the model) and outer vectors v (their contexts).

    The pairs (N, N) are from ``count_pairs``.
    """

    def __init__(self, pairs: Sparse, config: Item2VecConfig, seed: int) -> None:
        self.pairs, self.config = pairs, config
        self.random = np.random.default_rng(seed)
        shape = (pairs.shape[0], config.embedding_size)
        initial = self.random.uniform(-0.5, 0.5, shape) / config.embedding_size
        self.inner: FloatArray = initial.astype(np.float32)  # u (N, D)
        self.outer: FloatArray = np.zeros(shape, dtype=np.float32)  # v (N, D)
        self.squares = (np.zeros_like(self.inner), np.zeros_like(self.outer))  # of AdaGrad
        self.totals: FloatArray = np.asarray(pairs.sum(axis=1), dtype=np.float32)  # (N,)
        self.reached = np.flatnonzero(self.totals > 0)  # items that are in a pair
        chances = self.totals[self.reached].astype(np.float64) ** config.negative_exponent
        self.chances = np.cumsum(chances / chances.sum())

    def run(self, options: TrainOptions) -> FloatArray:
        """Train all epochs: unit vectors (N, D), zeros for items that are in no pair."""
        epochs = range(self.config.epochs if len(self.reached) else 0)
        for epoch in options.progress.track(epochs, "Training item2vec", len(epochs)):
            rate = self.config.learning_rate * (1 - epoch / len(epochs))
            for items in self._batches():
                self._step(items, rate)
        vectors = np.zeros_like(self.inner)
        vectors[self.reached] = unit(self.inner[self.reached], _TINY)
        return vectors

    def _batches(self) -> Iterator[IntArray]:
        """Yield all items that are in pairs, shuffled, in batches of ``_PAIRS_PER_STEP`` pairs."""
        order = self.random.permutation(self.reached)
        sums = np.cumsum(np.diff(self.pairs.indptr)[order])
        cuts = np.flatnonzero(np.diff(sums // _PAIRS_PER_STEP)) + 1
        yield from np.split(order, cuts)

    def _step(self, items: IntArray, rate: float) -> None:
        from scipy.special import expit

        block = self.pairs[items]  # (I, N), P entries
        # Negatives by inverse transform sampling; S distinct ones with their multiplicity.
        draws = np.searchsorted(self.chances, self.random.random(_SHARED_NEGATIVES), side="right")
        negatives, times = np.unique(draws.clip(max=len(self.reached) - 1), return_counts=True)
        negatives = self.reached[negatives]  # (S,)
        outer_items = np.unique(np.concatenate([block.indices, negatives]))  # (U,)
        pair_columns = np.searchsorted(outer_items, block.indices)  # (P,) index in outer_items
        negative_columns = np.searchsorted(outer_items, negatives)  # (S,)
        inner, outer = self.inner[items], self.outer[outer_items]  # (I, D), (U, D)
        pair_rows = np.repeat(np.arange(len(items)), np.diff(block.indptr))  # (P,)
        logits = np.einsum("pd,pd->p", inner[pair_rows], outer[pair_columns])  # (P,) u_i v_j
        shape = (len(items), len(outer_items))
        # d log sigma(x) / dx = sigma(-x): attraction of pairs (I, U), repulsion of negatives (I, S)
        attraction = to_csr((block.data * expit(-logits), pair_columns, block.indptr), shape)
        share = np.float32(self.config.num_negatives / _SHARED_NEGATIVES)
        repulsion = expit(inner @ outer[negative_columns].T) * (
            self.totals[items, None] * (share * times)
        )
        repulsion = repulsion.astype(np.float32)
        outer_gradient = attraction.T @ inner  # (U, D)
        outer_gradient[negative_columns] -= repulsion.T @ inner
        inner_gradient = attraction @ outer - repulsion @ outer[negative_columns]  # (I, D)
        self._ascend(0, items, inner_gradient, rate)
        self._ascend(1, outer_items, outer_gradient, rate)

    def _ascend(self, side: int, rows: IntArray, gradient: FloatArray, rate: float) -> None:
        """AdaGrad step of rows (R,) of one table; ``side`` is 0 for inner, 1 for outer vectors."""
        vectors, squares = (self.inner, self.outer)[side], self.squares[side]
        sums = squares[rows] + gradient * gradient  # (R, D)
        squares[rows] = sums
        vectors[rows] += np.float32(rate) * gradient / np.sqrt(sums + _TINY)
