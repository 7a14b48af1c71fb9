"""Item-to-item models, one sparse matrix each: item-based k nearest neighbours, EASE, transitions.

**ItemKNN**: item-based collaborative filtering. The similarity of two items is the cosine of their
user sets with a term added to the denominator (shrinkage), so that two items with a single user in
common do not have similarity 1. Neighbourhoods follow Deshpande & Karypis 2004, "Item-based top-N
recommendation algorithms". Differences: events lose weight with age, likes have a weight of their
own, users count by the strength of their strongest action (``[actions] strengths``), and
similarities are shrunk, not normalised per row.

**EASE**: a linear autoencoder in closed form. ``B`` minimises ``|X - X B|^2 + l2 |B|^2`` with a
zero diagonal, ``X`` the user-item matrix. With ``P = (X^T X + l2 I)^-1``, ``B[i, j] = -P[i, j] /
P[j, j]`` (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", arXiv:1905.03375).
Unlike a cosine, a weight measures only what the user's other items do not already explain.
Differences: events of a history lose weight with age, and only the largest positive weights of each
item are stored. On Amazon Beauty 200 per row rank as well as the full matrix with its negative
weights, in a thirtieth of the space. Float32 is sufficient: weights differ from float64 by at most
1e-7 there.

**Transitions**: a graph smoothed by content, which is counted, not trained. ``M[i, j]`` is the sum
of 1 / gap over all events with j that follow an event with i ``gap`` positions later in a history,
times the strength of that event (``[actions] strengths``), plus half of that for the other
direction, divided by sqrt(row sum + 1) and sqrt(column sum + 1), which reduces popularity bias;
only the ``_MAX_STEPS`` largest entries of a row are kept. The score is ``h (M + w P M)``: ``h`` the
decayed history and ``P`` the weights of the nearest items by content, through which an item with
few transitions uses those of similar items. Items without incoming transitions get the weighted
scores of their content neighbours, ``w P``, in the same way.

All of it is one sparse graph: row i holds the scores of a context of item i alone, the largest of
them, so that a request adds up a few rows. Items that came after the training have none: what they
are like says the model ``content``.

Shapes: B queries, N items, R items of a block, U users, T distinct items of a query's context,
C candidates.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from serendip.config import INTERNAL, Config
from serendip.data import Dataset, FloatArray, IntArray, Query
from serendip.errors import DataError
from serendip.models.base import Recommender, VoteEvidence
from serendip.models.context import (
    build_context_matrix,
    compute_context_weights,
    compute_contexts,
)
from serendip.models.linalg import (
    Sparse,
    keep_top_entries,
    keep_top_per_row,
    multiply_top,
    split_rows,
    stack_rows,
    sum_rows,
    to_csr,
)
from serendip.models.query_scores import NeighbourScores, QueryScores
from serendip.models.sparse.content_neighbours import find_content_neighbours
from serendip.models.sparse.packed_sparse import PackedSparse, blocks_of
from serendip.models.sparse.pair_counts import PairCounter
from serendip.models.sparse.row_tasks import Parts, compute_rows
from serendip.runtime.progress import TrainOptions


class ItemToItemConfig(Config):
    """Neighbours per item, and weights of the events of a history."""

    num_neighbours: Annotated[int, INTERNAL] = Field(default=200, ge=1)
    """Neighbours stored per item: those with the largest weights."""

    decay: Annotated[float, INTERNAL] = Field(default=0.5, gt=0, le=1)
    """Weight of an event relative to the next one."""


class ItemToItem(Recommender):
    """Score of j = sum over items i of the context of weight(i) * similarity(i, j)."""

    score_kind = "count"
    state = ("_similarities",)
    _similarities: PackedSparse

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        self._similarities = PackedSparse.of(self._fit_similarities(dataset, options))

    @abstractmethod
    def _fit_similarities(self, dataset: Dataset, options: TrainOptions) -> Sparse | PackedSparse:
        """Fit positive weights (N, N): row i has the contributions of item i."""

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        weights = build_context_matrix(queries, self._num_items, self.decay)
        scores: FloatArray = sum_rows(weights, self._similarities).toarray()  # (B, N)
        return scores

    def _query_scores(self, queries: Sequence[Query]) -> QueryScores:
        contexts = compute_contexts(queries, self._num_items, self.decay)
        sums = [self._similarities.add_rows(*context) for context in contexts]
        return NeighbourScores.of_rows(sums, self._num_items)

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and their contributions (T, C) to the scores of C items.

        The contributions to an item's score add up to it.
        """
        items, weights = compute_context_weights(query, self.num_items, self.decay)
        return items, self._similarities.select_columns(items, weights, item_nums)


def build_user_item_matrix(dataset: Dataset) -> Sparse:
    """User-item matrix (U, N) float32: the largest strength of the user's events with the item.

    Without strengths it is binary: 1 if the user has any event with the item.
    """
    events, shape = dataset.events, (dataset.num_users, dataset.num_items)
    if events.strengths is not None:
        pairs = events.users.astype(np.int64) * max(dataset.num_items, 1) + events.items
        distinct_pairs, inverse = np.unique(pairs, return_inverse=True)
        largest = np.zeros(len(distinct_pairs), np.float32)
        np.maximum.at(largest, inverse.reshape(-1), events.strengths)
        return to_csr((largest, np.divmod(distinct_pairs, max(dataset.num_items, 1))), shape)
    ones = np.ones(len(events), dtype=np.float32)
    matrix = to_csr((ones, (events.users, events.items)), shape)  # (U, N)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


_PAIRS_PER_BLOCK = 4_000_000
"""Bounds the memory of item-kNN: about 30 bytes per pair of items with common users in a block."""


class ItemKNNConfig(ItemToItemConfig):
    """Hyperparameters of item-based k nearest neighbours."""

    shrinkage: Annotated[float, INTERNAL] = Field(default=10.0, ge=0)
    """Number of users added to the denominator of the cosine."""


class ItemKNN(ItemToItem):
    """Item-based k nearest neighbours: similarity = shrunk cosine of the items' user sets."""

    name = "item-knn"
    config_class = ItemKNNConfig
    label = "Chosen by the same people"
    origin = "the same people"
    evidence = VoteEvidence(
        "neighbour",
        "Chosen by the same people as {title}",
        korean="‘{title}’{title:을/를} 선택한 사람들이 함께 선택했습니다",
    )
    config: ItemKNNConfig

    def _fit_similarities(self, dataset: Dataset, options: TrainOptions) -> Sparse:
        items_of_users = build_user_item_matrix(dataset)  # (U, N)
        users_of_items = to_csr(items_of_users.T)  # (N, U)
        # Items with common users (N,), at most: those of each user, repetitions included.
        related = users_of_items @ np.diff(items_of_users.indptr).astype(np.float32)
        count = min(self.config.num_neighbours, dataset.num_items)
        sizes = np.clip(related, count, dataset.num_items)
        squares = np.bincount(items_of_users.indices, items_of_users.data**2, dataset.num_items)
        norms = np.sqrt(squares.astype(np.float32))  # (N,)
        parts = {
            "users_of_items": users_of_items,
            "items_of_users": items_of_users,
            "norms": norms,
            "shrinkage": self.config.shrinkage,
            "count": count,
        }
        blocks = split_rows(sizes, _PAIRS_PER_BLOCK)
        return compute_rows(compare_rows, parts, blocks, "Comparing items", options)


def compare_rows(parts: Parts, rows: slice) -> Sparse:
    """The largest shrunk cosines (R, N) of a block of items; that with itself is 0.

    Parts are the strengths ``users_of_items`` (N, U) and ``items_of_users`` (U, N), ``norms`` (N,)
    of the rows of the former, ``shrinkage``, and ``count``, the entries kept per row.
    """
    shared = to_csr(parts["users_of_items"][rows] @ parts["items_of_users"])  # (R, N) common users
    norms, lengths = parts["norms"], np.diff(shared.indptr)
    numbers = np.arange(rows.start, rows.start + len(lengths), dtype=np.int32)
    denominator = np.repeat(norms[numbers], lengths)  # (entries,)
    denominator *= norms[shared.indices]
    denominator += np.float32(parts["shrinkage"])
    shared.data /= denominator
    shared.data[shared.indices == np.repeat(numbers, lengths)] = 0.0
    return keep_top_entries(shared, int(parts["count"]))


_ROWS_PER_BLOCK = 1024
"""Rows whose largest weights EASE finds at once."""


class EASEConfig(ItemToItemConfig):
    """Hyperparameters of EASE."""

    l2: float = Field(default=250.0, gt=0)
    """Ridge penalty, added to the diagonal of the Gram matrix (number of users per item)."""

    max_items: int = Field(default=30_000, ge=1)
    """Largest number n of items with events. Training takes O(n^3) time and 12 n^2 bytes of memory
    (30,000 items: 11 GB, about 5 minutes on one core), and is refused above this."""


class EASE(ItemToItem):
    """Ridge regression of every item on all others; items without events have no weights."""

    name = "ease"
    config_class = EASEConfig
    label = "Goes with the history, by linear regression"
    origin = "what goes with the history"
    evidence = VoteEvidence(
        "neighbour",
        "Chosen by those who chose {title}",
        korean="‘{title}’{title:을/를} 선택한 사람들이 선택했습니다",
    )
    config: EASEConfig

    def _fit_similarities(self, dataset: Dataset, options: TrainOptions) -> Sparse:
        item_nums = np.flatnonzero(dataset.item_counts()).astype(np.int32)  # (n,) with events
        count, total = len(item_nums), dataset.num_items
        if count > self.config.max_items:
            raise DataError(
                f"model {self.name!r} inverts an (items, items) matrix, and {count} items have "
                f"events; its limit is max_items = {self.config.max_items}.",
                "Leave the model out (item-knn is similar), or raise max_items.",
            )
        if not count:
            return to_csr((total, total))
        matrix = to_csr(build_user_item_matrix(dataset)[:, item_nums])
        inverse = _invert_gram(matrix, self.config.l2)  # P (n, n)
        inverse /= -inverse.diagonal()  # B[i, j] = -P[i, j] / P[j, j]
        np.fill_diagonal(inverse, 0.0)
        starts = range(0, count, _ROWS_PER_BLOCK)
        blocks = (
            keep_top_per_row(inverse[begin : begin + _ROWS_PER_BLOCK], self.config.num_neighbours)
            for begin in options.progress.track(starts, "Weighing items", len(starts))
        )
        entries = stack_rows(blocks, count).tocoo()
        rows, columns = item_nums[entries.row], item_nums[entries.col]
        return to_csr((entries.data, (rows, columns)), (total, total))


def _invert_gram(matrix: Sparse, l2: float) -> FloatArray:
    """``(X^T X + l2 I)^-1`` (n, n) for X (U, n), by Cholesky decomposition.

    Raises:
        DataError: l2 is too small for float32.
    """
    from scipy.linalg import lapack

    gram = (matrix.T @ matrix).toarray(order="F")
    gram[np.diag_indices_from(gram)] += l2
    factor, error_code = lapack.spotrf(gram, lower=1, clean=0, overwrite_a=1)
    if error_code:
        raise DataError(
            f"l2 = {l2} is too small: the matrix of EASE is not positive definite in float32.",
            "Raise l2 in the config of the model.",
        )
    lower = lapack.spotri(factor, lower=1, overwrite_c=1)[0]
    inverse: FloatArray = np.tril(lower) + np.tril(lower, -1).T
    return inverse


_MAX_STEPS = 500
"""Items to which an item has stored transitions: those with the largest weights."""

_BACKWARD_WEIGHT = 0.5
"""Weight of a transition backwards in time, relative to a forward one."""


class TransitionsConfig(Config):
    """Transition counts and their smoothing by content."""

    mode: Annotated[Literal["plain", "spread"], INTERNAL] = "spread"
    """``spread`` smooths transitions over content neighbours; without content features it is the
    same as ``plain``."""

    num_gaps: Annotated[int, INTERNAL] = Field(default=10, ge=1)
    """Largest distance of two events in a history that counts as a transition."""

    decay: Annotated[float, INTERNAL] = Field(default=0.8, gt=0, le=1)
    """Weight of an event relative to the next one."""

    num_neighbours: Annotated[int, INTERNAL] = Field(default=20, ge=1)
    """Content neighbours per item whose transitions it uses."""

    spread_weight: Annotated[float, INTERNAL] = Field(default=1.0, ge=0)
    """w, weight of the neighbours' transitions relative to the item's."""

    max_targets: Annotated[int, INTERNAL] = Field(default=200, ge=1)
    """Items with a score for a context of one item, neighbours' transitions included; those with
    the largest scores. Ignored in mode ``plain``."""


class Transitions(ItemToItem):
    """Score of j = weighted transitions to j from items of the context and their neighbours."""

    name = "transitions"
    label = "Chosen next"
    origin = "what people choose next"
    config_class = TransitionsConfig
    evidence = VoteEvidence(
        "transition",
        "Chosen next after {title} or its like",
        korean="‘{title}’{title:이나/나} 비슷한 항목 다음에 선택되었습니다",
    )
    config: TransitionsConfig

    def _fit_similarities(self, dataset: Dataset, options: TrainOptions) -> Sparse | PackedSparse:
        steps = self._count_steps(dataset, options)
        if dataset.features is None or self.config.mode == "plain":
            return steps
        from scipy.sparse import eye_array

        content = dataset.features.content  # (N, E)
        everything = np.arange(dataset.num_items, dtype=np.int32)
        count, weight = self.config.num_neighbours, self.config.spread_weight
        lent = weight * find_content_neighbours(content, everything, content, count)  # (N, N)
        itself = to_csr(eye_array(dataset.num_items))
        sources, reach = (to_csr(itself + more) for more in (lent, _lending(steps, lent)))  # (N, N)
        most = self.config.max_targets
        blocks = (
            multiply_top(multiply_top(to_csr(sources[rows]), steps, most), reach, most)
            for rows in blocks_of(len(everything))
        )
        return PackedSparse.stack(blocks, steps.shape[1])

    def _count_steps(self, dataset: Dataset, options: TrainOptions) -> Sparse:
        """M (N, N), the largest entries of each row."""
        config, log = self.config, dataset.events
        weights = (1.0 / np.arange(1, config.num_gaps + 1)).astype(np.float32)  # (G,)
        backward = _BACKWARD_WEIGHT * weights
        counter = PairCounter(
            log.users, log.items, dataset.num_items, weights, backward, log.strengths
        )
        rows, columns = (1.0 / np.sqrt(sums + 1.0) for sums in counter.sums())  # (N,) each
        return counter.count_top(rows, columns, _MAX_STEPS, options)


def _lending(steps: Sparse, lent: Sparse) -> Sparse:
    """(N, N): row n has the items without incoming steps that n lends its own to.

    Weights of the neighbours of each item are ``lent`` (N, N).
    """
    reached = np.bincount(steps.indices, minlength=steps.shape[1]) > 0  # (N,)
    pairs = lent.tocoo()
    borrows = ~reached[pairs.row]
    cells = pairs.data[borrows], (pairs.col[borrows], pairs.row[borrows])
    return to_csr(cells, steps.shape)
