"""Item-to-item transition graph, smoothed by content. Counted, not trained.

``M[i, j]`` is the sum of 1 / gap over all events with j that follow an event with i ``gap``
positions later in a history, plus half of that for the other direction, divided by sqrt(row sum +
1) and sqrt(column sum + 1), which reduces popularity bias. The score is
``h (M + w P M) + c (h E) E^T``: ``h`` the decayed history, ``P`` the weights of the nearest items
by content, through which an item with few transitions uses those of similar items, and ``E`` the
content vectors, for pure similarity (off with ``c`` = 0). Items without incoming transitions get
the weighted scores of their content neighbours, ``w P``, in the same way.

All but the last term is one sparse graph, computed in training: row i holds the scores of a context
of item i alone, the largest of them, so that a request adds up a few rows. Scores of unreached
items that are new or have changed since are computed from those of their neighbours.

Shapes: B queries, N items, T distinct items of a query's context, C candidates, M changed or new
items, L late items, E content size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray, locate
from serendip.data.dataset import Dataset, pairs_by_gap
from serendip.data.item_features import ItemFeatures
from serendip.data.query import Query
from serendip.models.base import Recommender, VoteEvidence
from serendip.models.context import (
    build_context_matrix,
    compute_context_weights,
    compute_contexts,
)
from serendip.models.linalg import (
    Sparse,
    build_identity,
    find_content_neighbours,
    multiply_top,
    open_array,
    open_csr,
    replace_rows,
    replace_sparse_rows,
    resize,
    save_csr,
    scale_rows,
    select_columns,
    stack_rows,
    sum_rows,
    to_csr,
)
from serendip.models.query_scores import QueryScores, SparseScores
from serendip.runtime.progress import TrainOptions

_STEPS_FILE, _GRAPH_FILE, _LATE_FILE = "steps.safetensors", "graph.safetensors", "late.npy"
_NEIGHBOURS_FILE = "neighbours.safetensors"
_CONTENT_FILE = "content.npy"

_MAX_VOTERS = 8
"""Context items whose votes are computed; an explanation shows fewer."""


class TransitionsConfig(Config):
    """Transition counts and their smoothing by content."""

    mode: Literal["plain", "spread"] = "spread"
    """``spread`` smooths transitions over content neighbours; without content features it is the
    same as ``plain``."""

    num_gaps: int = Field(default=10, ge=1)
    """Largest distance of two events in a history that counts as a transition."""

    backward_weight: float = Field(default=0.5, ge=0)
    """Weight of a transition backwards in time, relative to a forward one."""

    decay: float = Field(default=0.8, gt=0, le=1)
    """Weight of an event relative to the next one."""

    num_neighbours: int = Field(default=20, ge=1)
    """Content neighbours per item whose transitions it uses."""

    spread_weight: float = Field(default=1.0, ge=0)
    """w, weight of the neighbours' transitions relative to the item's."""

    max_targets: int = Field(default=200, ge=1)
    """Items with a score for a context of one item, neighbours' transitions included; those with
    the largest scores. Ignored in mode ``plain``."""

    content_weight: float = Field(default=0.0, ge=0)
    """c, weight of the content cosine, added in both modes if there are content features."""


class Transitions(Recommender):
    """Score of j = weighted transitions to j from items of the context and their neighbours."""

    name = "transitions"
    config_class = TransitionsConfig
    label = "Chosen next"
    origin = "what people choose next"
    score_kind = "count"
    evidence = VoteEvidence("transition", "Often chosen next after {title} or its like")
    config: TransitionsConfig

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        steps = self._normalise(self._count_steps(dataset))  # M (N, N)
        self._neighbours: Sparse | None = None
        self._content: FloatArray | None = None
        is_smoothed = self.config.mode == "spread"
        if dataset.features is not None and (is_smoothed or self.config.content_weight):
            self._content = dataset.features.content  # (N, E)
            if is_smoothed:
                all_items = np.arange(dataset.num_items, dtype=np.int32)
                self._neighbours = self._find_neighbours(all_items, self._content, self._content)
        self._matrix = steps
        self._find_unreached()
        self._graph: Sparse = self._build_graph()
        self._use_late(NO_ITEMS)

    def _count_steps(self, dataset: Dataset) -> Sparse:
        """Weighted counts (N, N) of forward and backward transitions between different items."""
        shape = (dataset.num_items, dataset.num_items)
        steps = to_csr(shape)
        log = dataset.events
        for gap, source, target in pairs_by_gap(log.users, log.items, self.config.num_gaps):
            values = np.full(len(source), 1.0 / gap, dtype=np.float32)
            steps += to_csr((values, (source, target)), shape)
        return to_csr(steps + self.config.backward_weight * steps.T)

    @staticmethod
    def _normalise(steps: Sparse) -> Sparse:
        """Divide by sqrt(row sum + 1) and sqrt(column sum + 1)."""
        rows = 1.0 / np.sqrt(steps.sum(axis=1) + 1.0)  # (N,)
        columns = 1.0 / np.sqrt(steps.sum(axis=0) + 1.0)  # (N,)
        scaled = scale_rows(steps, rows)
        scaled.data *= columns[scaled.indices]
        return scaled

    def _find_unreached(self) -> None:
        """Cache the items without incoming transitions (M,), and the matrix that reaches them."""
        self._unreached: IntArray = NO_ITEMS
        self._reach: Sparse | None = None
        if self._neighbours is None:
            return
        self._unreached = _find_empty_columns(self._matrix)
        lent = to_csr(self._neighbours[self._unreached])  # (M, N)
        shape = self._neighbours.shape
        targets = np.repeat(self._unreached, np.diff(lent.indptr))
        values = self.config.spread_weight * lent.data
        # Row n has the item itself and the unreached items that have n as a neighbour.
        identity = build_identity(shape[0])
        self._reach = identity + to_csr((values, (lent.indices, targets)), shape)  # (N, N)

    def _build_graph(self, numbers: IntArray | None = None) -> Sparse:
        """Rows of the graph (M, N) of some items; None = of all."""
        if self._neighbours is None or self._reach is None:
            return self._matrix if numbers is None else self._matrix[numbers]
        rows = np.arange(self._neighbours.shape[0], dtype=np.int32) if numbers is None else numbers
        shape = (len(rows), self._neighbours.shape[1])
        single = to_csr((np.ones(len(rows), np.float32), (np.arange(len(rows)), rows)), shape)
        smoothed = single + self.config.spread_weight * self._neighbours[rows]  # (M, N)
        steps = multiply_top(smoothed, self._matrix, self.config.max_targets)
        return multiply_top(steps, self._reach, self.config.max_targets)

    def _use_late(self, late: IntArray) -> None:
        """Compute the scores of some unreached items (L,), ascending, from their neighbours'."""
        self._late, self._late_neighbours = late, None
        if self._neighbours is None or not len(late):
            return
        lent = to_csr(self._neighbours[late]).tocoo()  # (L, N)
        kept = ~locate(self._unreached, lent.col)[1]
        values = self.config.spread_weight * lent.data[kept]
        self._late_neighbours = to_csr((values, (lent.row[kept], lent.col[kept])), lent.shape)

    def _find_neighbours(
        self, numbers: IntArray, vectors: FloatArray, catalogue: FloatArray
    ) -> Sparse:
        """Weights (M, N) of the nearest catalogue items by content; see ``linalg``."""
        return find_content_neighbours(vectors, numbers, catalogue, self.config.num_neighbours)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        context = build_context_matrix(queries, self._num_items, self.config.decay)  # h (B, N)
        scores: FloatArray = (context @ self._graph).toarray()  # (B, N)
        if self._late_neighbours is not None:
            scores[:, self._late] = (self._late_neighbours @ scores.T).T
        if self._content is not None and self.config.content_weight:
            scores += (self.config.content_weight * (context @ self._content)) @ self._content.T
        return scores

    def _query_scores(self, queries: Sequence[Query]) -> QueryScores | None:
        if self._content is not None and self.config.content_weight:
            return None
        contexts = compute_contexts(queries, self._num_items, self.config.decay)
        rows = [self._add_late(*sum_rows(self._graph, *context)) for context in contexts]
        return SparseScores(rows, self._num_items)

    def _add_late(self, items: IntArray, scores: FloatArray) -> tuple[IntArray, FloatArray]:
        """Scored items, ascending, and their scores, with those of the late items."""
        lent = self._late_neighbours
        if lent is None:
            return items, scores
        positions, is_scored = locate(items, lent.indices)
        votes = np.where(is_scored, scores[positions] if len(scores) else 0.0, 0.0) * lent.data
        owners = np.repeat(np.arange(len(self._late)), np.diff(lent.indptr))
        late_scores = np.bincount(owners, votes, len(self._late)).astype(np.float32)  # (L,)
        has_score = late_scores > 0
        kept = ~locate(self._late, items)[1]
        items = np.concatenate([items[kept], self._late[has_score]])
        order = np.argsort(items, kind="stable")
        return items[order], np.concatenate([scores[kept], late_scores[has_score]])[order]

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and their contributions (T, C) to the scores of C items.

        Only the ``_MAX_VOTERS`` context items with the largest weights vote, largest first. The
        votes for an item add up to its score if the context has no more distinct items than that.
        """
        items, weights = compute_context_weights(query, self.num_items, self.config.decay)
        heaviest = np.argsort(-weights, kind="stable")[:_MAX_VOTERS]
        items, weights = items[heaviest], weights[heaviest]  # (T,) each
        votes = select_columns(self._graph, items, weights, item_nums)  # (T, C)
        places, is_late = locate(self._late, item_nums)
        if self._late_neighbours is not None and is_late.any():
            lent = to_csr(self._late_neighbours[places[is_late]])  # (late columns, N)
            lenders, columns = np.unique(lent.indices, return_inverse=True)
            of_lenders = select_columns(self._graph, items, weights, lenders)  # (T, lenders)
            shares = np.zeros((lent.shape[0], len(lenders)), np.float32)
            shares[np.repeat(np.arange(len(shares)), np.diff(lent.indptr)), columns] = lent.data
            votes[:, is_late] = of_lenders @ shares.T
        if self._content is not None and self.config.content_weight:
            # (T, E)
            weighted = self.config.content_weight * weights[:, None] * self._content[items]
            votes += weighted @ self._content[item_nums].T
        return items, votes

    def _with_items(self, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        old, total = self._num_items, self._num_items + len(features)
        model._matrix = resize(self._matrix, total, total)
        model._graph = resize(self._graph, total, total)
        if self._content is None:
            return model
        model._content = np.concatenate([self._content, features.content])
        if self._neighbours is None or self._reach is None:
            return model
        numbers = np.arange(old, total, dtype=np.int32)
        # New items get neighbours among the old ones; old items keep theirs.
        new = self._find_neighbours(numbers, features.content, self._content)
        new = resize(new, len(features), total)
        model._neighbours = stack_rows([resize(self._neighbours, old, total), new], total)
        model._reach = resize(self._reach, total, total)
        model._unreached = np.concatenate([self._unreached, numbers])
        rows = model._build_graph(numbers)
        model._graph = stack_rows([resize(self._graph, old, total), rows], total)
        model._use_late(np.concatenate([self._late, numbers]))
        return model

    def _with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        if self._content is None:
            return self
        model = copy.copy(self)
        model._content = replace_rows(self._content, item_nums, features.content)
        if self._neighbours is None:
            return model
        # Recompute the neighbours of the changed items, and of items that had one as a neighbour.
        entries = np.flatnonzero(np.isin(self._neighbours.indices, item_nums))
        affected = np.searchsorted(self._neighbours.indptr, entries, side="right") - 1
        numbers = np.union1d(item_nums, affected).astype(np.int32)
        new = self._find_neighbours(numbers, model._content[numbers], model._content)
        model._neighbours = replace_sparse_rows(self._neighbours, numbers, new)
        model._graph = replace_sparse_rows(self._graph, numbers, model._build_graph(numbers))
        changed = numbers[locate(self._unreached, numbers)[1]]
        model._use_late(np.union1d(self._late, changed))
        return model

    def _save(self, folder: Path) -> None:
        save_csr(folder / _STEPS_FILE, self._matrix)
        if self._neighbours is not None:
            save_csr(folder / _NEIGHBOURS_FILE, self._neighbours)
            save_csr(folder / _GRAPH_FILE, self._graph)
            np.save(folder / _LATE_FILE, self._late, allow_pickle=False)
        if self._content is not None:
            np.save(folder / _CONTENT_FILE, self._content, allow_pickle=False)

    def _open(self, folder: Path) -> None:
        self._matrix = open_csr(folder / _STEPS_FILE)
        self._neighbours = self._content = None
        if (folder / _NEIGHBOURS_FILE).exists():
            self._neighbours = open_csr(folder / _NEIGHBOURS_FILE)
        if self._neighbours is not None or (folder / _CONTENT_FILE).exists():
            self._content = open_array(folder / _CONTENT_FILE)
        self._find_unreached()
        self._graph = self._matrix
        late = NO_ITEMS
        if self._neighbours is not None:
            self._graph = open_csr(folder / _GRAPH_FILE)
            late = open_array(folder / _LATE_FILE).astype(np.int32)
        self._use_late(late)


def _find_empty_columns(steps: Sparse) -> IntArray:
    """Numbers of the columns without entries."""
    entries = np.bincount(steps.indices, minlength=steps.shape[1])
    return np.flatnonzero(entries == 0).astype(np.int32)
