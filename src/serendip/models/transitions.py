"""Item-to-item transition graph, smoothed by content. Counted, not trained.

``M[i, j]`` is the sum of 1 / gap over all events with j that follow an event with i ``gap``
positions later in a history, times the strength of that event (``[actions] strengths``), plus half
of that for the other direction, divided by sqrt(row sum + 1) and sqrt(column sum + 1), which
reduces popularity bias; only the ``max_steps`` largest entries of a row are stored. The score is
``h (M + w P M) + c (h E) E^T``: ``h`` the decayed history, ``P`` the weights of the nearest items
by content, through which an item with few transitions uses those of similar items, and ``E`` the
content vectors, for pure similarity (off with ``c`` = 0). Items without incoming transitions get
the weighted scores of their content neighbours, ``w P``, in the same way.

All but the last term is one sparse graph, computed in training: row i holds the scores of a context
of item i alone, the largest of them, so that a request adds up a few rows. Scores of unreached
items that are new or have changed since are computed from those of their neighbours.

Shapes: B queries, N items, T distinct items of a query's context, C candidates, M changed or new
items, E content size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray, distinct, locate
from serendip.data.dataset import Dataset
from serendip.data.items.features import ItemFeatures
from serendip.data.query import Query
from serendip.data.rows.growing_rows import append_rows, replace_rows
from serendip.data.rows.packed_rows import open_packed, packed_arrays
from serendip.data.rows.row_array import dot_rows
from serendip.data.rows.strings import open_arrays, save_arrays
from serendip.errors import ArtefactError
from serendip.models.base import Recommender, VoteEvidence
from serendip.models.context import (
    build_context_matrix,
    compute_context_weights,
    compute_contexts,
)
from serendip.models.linalg import (
    Sparse,
    add_rows,
    build_identity,
    multiply_top,
    select_columns,
    stack_rows,
    sum_rows,
    to_csr,
)
from serendip.models.query_scores import QueryScores, SparseScores
from serendip.models.sparse.content_neighbours import find_content_neighbours
from serendip.models.sparse.growing_sparse import GrowingSparse, LateRows
from serendip.models.sparse.packed_sparse import PackedSparse, blocks_of
from serendip.models.sparse.pair_counts import PairCounter
from serendip.runtime.progress import TrainOptions

_STEPS_FOLDER, _NEIGHBOURS_FOLDER = "steps", "neighbours"
_GRAPH_FOLDER, _ARRAYS_FOLDER = "graph", "arrays"

_MOST_ROWS = 4_096
"""Rows from which on a product reads a whole matrix that is not packed."""

_MAX_VOTERS = 8
"""Context items whose votes are computed; an explanation shows fewer."""


class TransitionsConfig(Config):
    """Transition counts and their smoothing by content."""

    mode: Literal["plain", "spread"] = "spread"
    """``spread`` smooths transitions over content neighbours; without content features it is the
    same as ``plain``."""

    num_gaps: int = Field(default=10, ge=1)
    """Largest distance of two events in a history that counts as a transition."""

    max_steps: int = Field(default=500, ge=1)
    """Items to which an item has stored transitions: those with the largest weights."""

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
    evidence = VoteEvidence(
        "transition",
        "Often chosen next after {title} or its like",
        korean="‘{title}’{title:이나/나} 비슷한 항목 다음에 많이 선택됩니다",
    )
    config: TransitionsConfig
    _known_late: tuple[IntArray, Sparse] | None = None

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        steps = self._count_steps(dataset, options)
        self._trained_unreached = _find_empty_columns(steps)
        self._neighbours: GrowingSparse | None = None
        self._content: FloatArray | None = None
        is_smoothed = self.config.mode == "spread"
        if dataset.features is not None and (is_smoothed or self.config.content_weight):
            self._content = dataset.features.content  # (N, E)
            if is_smoothed:
                all_items = np.arange(dataset.num_items, dtype=np.int32)
                self._use_neighbours(
                    find_content_neighbours(
                        self._content, all_items, self._content, self.config.num_neighbours
                    )
                )
        self._matrix, graph = self._pack(steps)
        self._use_graph(graph, NO_ITEMS)

    def _pack(self, steps: Sparse) -> tuple[PackedSparse, PackedSparse]:
        """M and the graph, both (N, N) and packed; the graph is multiplied from M as it is."""
        if self._neighbours is None:
            matrix = PackedSparse.of(steps)
            return matrix, matrix
        self.__dict__.pop("_reach", None)  # of an earlier training
        numbers = np.arange(steps.shape[0], dtype=np.int32)
        blocks = (self._build_rows(numbers[part], steps) for part in blocks_of(len(numbers)))
        graph = PackedSparse.stack(blocks, steps.shape[1])
        return PackedSparse.of(steps), graph

    def _count_steps(self, dataset: Dataset, options: TrainOptions) -> Sparse:
        """M (N, N), the largest entries of each row."""
        config, log = self.config, dataset.events
        weights = (1.0 / np.arange(1, config.num_gaps + 1)).astype(np.float32)  # (G,)
        backward = config.backward_weight * weights
        counter = PairCounter(
            log.users, log.items, dataset.num_items, weights, backward, log.strengths
        )
        rows, columns = (1.0 / np.sqrt(sums + 1.0) for sums in counter.sums())  # (N,) each
        return counter.count_top(rows, columns, config.max_steps, options)

    def _use_neighbours(self, neighbours: Sparse | PackedSparse) -> None:
        """Smooth by content neighbours (N0, N0) of the trained items."""
        self._neighbours = GrowingSparse.of(neighbours)

    @property
    def _unreached(self) -> IntArray:
        """Items (M,) without incoming transitions: some trained ones, and all newer ones."""
        newer = np.arange(self._matrix.shape[0], self._num_items, dtype=np.int32)
        return np.concatenate([self._trained_unreached, newer])

    def _find_neighbours(self, numbers: IntArray, features: ItemFeatures) -> Sparse:
        """Weights (M, N0) of the nearest trained items by content."""
        assert self._content is not None
        count, num_trained = self.config.num_neighbours, self._matrix.shape[0]
        return find_content_neighbours(
            features.content, numbers, self._content, count, num_trained, features.near
        )

    def _use_graph(self, graph: Sparse | PackedSparse, late: IntArray) -> None:
        """Score by a graph (N0, N0), and some unreached items by their neighbours' scores."""
        self._forget_late()
        self._known_late = None
        self._graph = LateRows(graph)
        self._late = late

    def _take_graph(self, numbers: IntArray) -> Sparse:
        """Rows (M, N0) of the graph; those of later items are computed when they are first read."""
        return self._graph.take(numbers, self._build_graph)

    def _graph_rows(self, numbers: IntArray) -> tuple[Sparse | PackedSparse, IntArray]:
        """A matrix that has the graph's rows of the numbers (M,), and their numbers in it."""
        return self._graph.source(numbers, self._build_graph)

    @cached_property
    def _reach(self) -> Sparse:
        """(N0, N0): row n has item n and the unreached items that have it as a neighbour."""
        assert self._neighbours is not None
        unreached = self._trained_unreached
        lent = to_csr(self._neighbours.take(unreached))  # (M, N0)
        values = self.config.spread_weight * lent.data
        targets = np.repeat(unreached, np.diff(lent.indptr))
        shape = self._neighbours.base.shape
        return build_identity(shape[0]) + to_csr((values, (lent.indices, targets)), shape)

    def _build_graph(self, numbers: IntArray) -> Sparse:
        """Rows (M, N0) of the graph."""
        parts = (numbers[part] for part in blocks_of(len(numbers)))
        blocks = (self._build_rows(part, self._matrix) for part in parts)
        return stack_rows(blocks, self._matrix.shape[0])

    def _build_rows(self, numbers: IntArray, matrix: Sparse | PackedSparse) -> Sparse:
        """A block of rows of the graph, from M."""
        num_trained = matrix.shape[0]
        known = np.flatnonzero(numbers < num_trained)
        cells = (np.ones(len(known), np.float32), (known, numbers[known]))
        context = to_csr(cells, (len(numbers), num_trained))
        if self._neighbours is None:
            return self._matrix.sum_rows(context)
        smoothed = context + self.config.spread_weight * self._neighbours.take(numbers)
        steps = _multiply_top_rows(to_csr(smoothed), matrix, self.config.max_targets)
        return _multiply_top_rows(steps, self._reach, self.config.max_targets)

    @cached_property
    def _late_neighbours(self) -> tuple[IntArray, Sparse]:
        """Late items (L,), ascending: new ones, and changed unreached ones; their neighbours.

        Neighbours are (L, N0) weights of those that are reached.
        """
        if self._neighbours is None:
            return NO_ITEMS, to_csr((0, self._matrix.shape[0]))
        known, rows = self._known_late or (self._late, self._take_reached(self._late))
        begin = max(self._matrix.shape[0], int(known[-1]) + 1 if len(known) else 0)
        newer = np.arange(begin, self._num_items, dtype=np.int32)
        if not len(newer):
            return known, rows
        rows = stack_rows([rows, self._take_reached(newer)], self._matrix.shape[0])
        return np.concatenate([known, newer]), rows

    def _take_reached(self, items: IntArray) -> Sparse:
        """Weights (M, N0) of those neighbours of items that are reached."""
        assert self._neighbours is not None
        lent = to_csr(self._neighbours.take(items)).tocoo()  # (M, N0)
        kept = ~locate(self._trained_unreached, lent.col)[1]
        values = self.config.spread_weight * lent.data[kept]
        return to_csr((values, (lent.row[kept], lent.col[kept])), lent.shape)

    @cached_property
    def _lenders(self) -> Sparse:
        """(N0, L): row n has the late items that have item n as a neighbour."""
        return to_csr(self._late_neighbours[1].T)

    def _copy(self) -> Self:
        """A copy that computes its late neighbours when they are read, from those known here."""
        model = copy.copy(self)
        model._known_late = model.__dict__.pop("_late_neighbours", self._known_late)
        model._forget_late()
        return model

    def _forget_late(self) -> None:
        """Compute the late neighbours anew when they are next read."""
        for name in ("_late_neighbours", "_lenders"):
            self.__dict__.pop(name, None)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        context = build_context_matrix(queries, self._num_items, self.config.decay)  # h (B, N)
        items, columns = np.unique(context.indices, return_inverse=True)  # (T,)
        shape = (len(queries), len(items))
        weights = to_csr((context.data, columns.astype(np.int32), context.indptr), shape)
        trained = (weights @ self._take_graph(items)).toarray()  # (B, N0)
        scores = np.zeros(context.shape, np.float32)  # (B, N)
        scores[:, : trained.shape[1]] = trained
        late, lent = self._late_neighbours
        if len(late):
            scores[:, late] = (lent @ trained.T).T
        if self._content is not None and self.config.content_weight:
            sums = self.config.content_weight * sum_rows(context, self._content)  # (B, E)
            scores += dot_rows(sums, self._content)
        return scores

    def _query_scores(self, queries: Sequence[Query]) -> QueryScores | None:
        if self._content is not None and self.config.content_weight:
            return None
        contexts = compute_contexts(queries, self._num_items, self.config.decay)
        if len(contexts) == 1:
            items, weights = contexts[0]
            rows = [add_rows(*self._graph_rows(items), weights)]
            return SparseScores(self._add_late(rows), self._num_items)
        # Rows that several contexts share are read once.
        used = distinct(np.concatenate([items for items, _ in contexts]))  # (T,)
        graph = self._take_graph(used)
        rows = [
            add_rows(graph, np.searchsorted(used, items).astype(np.int32), weights)
            for items, weights in contexts
        ]
        return SparseScores(self._add_late(rows), self._num_items)

    def _add_late(
        self, rows: Sequence[tuple[IntArray, FloatArray]]
    ) -> Sequence[tuple[IntArray, FloatArray]]:
        """Scored items, ascending, and their scores, with those of the late items; per query."""
        late, lent = self._late_neighbours
        if not len(late):
            return rows
        starts = np.cumsum([0, *(len(items) for items, _ in rows)], dtype=np.int32)  # (B + 1,)
        columns, values = (np.concatenate(part) for part in zip(*rows, strict=True))
        scored = to_csr((values, columns, starts), (len(rows), lent.shape[1]))  # (B, N0)
        found = to_csr(scored @ self._lenders)  # (B, L)
        kept = ~locate(late, columns)[1]
        merged = []
        for row in range(len(rows)):
            part = slice(starts[row], starts[row + 1])
            new = slice(found.indptr[row], found.indptr[row + 1])
            items = np.concatenate([columns[part][kept[part]], late[found.indices[new]]])
            scores = np.concatenate([values[part][kept[part]], found.data[new]])
            order = np.argsort(items, kind="stable")
            merged.append((items[order], scores[order]))
        return merged

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and their contributions (T, C) to the scores of C items.

        Only the ``_MAX_VOTERS`` context items with the largest weights vote, largest first. The
        votes for an item add up to its score if the context has no more distinct items than that.
        """
        items, weights = compute_context_weights(query, self.num_items, self.config.decay)
        heaviest = np.argsort(-weights, kind="stable")[:_MAX_VOTERS]
        items, weights = items[heaviest], weights[heaviest]  # (T,) each
        graph, places = self._graph_rows(items)
        votes = select_columns(graph, places, weights, item_nums)  # (T, C)
        late, neighbours = self._late_neighbours
        rows, is_late = locate(late, item_nums)
        if is_late.any():
            lent = to_csr(neighbours[rows[is_late]])  # (late columns, N0)
            lenders, columns = np.unique(lent.indices, return_inverse=True)
            of_lenders = select_columns(graph, places, weights, lenders)  # (T, lenders)
            shares = np.zeros((lent.shape[0], len(lenders)), np.float32)
            shares[np.repeat(np.arange(len(shares)), np.diff(lent.indptr)), columns] = lent.data
            votes[:, is_late] = of_lenders @ shares.T
        if self._content is not None and self.config.content_weight:
            # (T, E)
            weighted = self.config.content_weight * weights[:, None] * self._content[items]
            votes += weighted @ self._content[item_nums].T
        return items, votes

    def _with_items(self, features: ItemFeatures) -> Self:
        model = self._copy()
        numbers = self._num_items + np.arange(len(features), dtype=np.int32)
        if self._content is not None:
            model._content = append_rows(self._content, features.content)
        if self._neighbours is not None:
            # New items get neighbours among the trained ones, which keep theirs.
            new = self._find_neighbours(numbers, features)
            model._neighbours = self._neighbours.appended(new)
        model._graph = self._graph.with_new(len(features))
        return model

    def _with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        """Give changed items new neighbours.

        Items that had one as a neighbour get new ones too, unless the catalogue is so large that
        items are only compared with those near them: there they do at the next training.
        """
        if self._content is None:
            return self
        model = self._copy()
        model._known_late = None
        model._content = replace_rows(self._content, item_nums, features.content)
        if self._neighbours is None:
            return model
        if features.near is None:
            borrowers = self._neighbours.rows_with(item_nums)
            item_nums = np.union1d(item_nums, borrowers).astype(np.int32)
            content = model._content[item_nums]
            features = ItemFeatures(content, np.empty((len(content), 0), np.int32), 1)
        new = model._find_neighbours(item_nums, features)
        model._neighbours = self._neighbours.replaced(item_nums, new)
        model._graph = self._graph.with_changed(item_nums)
        changed = item_nums[locate(self._trained_unreached, item_nums)[1]]
        model._late = distinct(np.concatenate([self._late, changed]))
        return model

    def _save(self, folder: Path) -> None:
        count = self._num_items
        self._matrix.resized(count, count).save(folder / _STEPS_FOLDER)
        if self._neighbours is not None:
            self._neighbours.packed(count).save(folder / _NEIGHBOURS_FOLDER)
            graph = self._graph.packed(self._build_graph)
            graph.resized(count, count).save(folder / _GRAPH_FOLDER)
        arrays = {"unreached": self._unreached, "late": self._late_neighbours[0]}
        content = {} if self._content is None else packed_arrays("content", self._content)
        save_arrays(folder / _ARRAYS_FOLDER, {**arrays, **content})

    def _open(self, folder: Path) -> None:
        self._matrix = PackedSparse.open(folder / _STEPS_FOLDER)
        arrays = open_arrays(folder / _ARRAYS_FOLDER)
        self._neighbours = self._content = None
        graph = self._matrix
        if (folder / _NEIGHBOURS_FOLDER).exists():
            self._use_neighbours(PackedSparse.open(folder / _NEIGHBOURS_FOLDER))
            graph = PackedSparse.open(folder / _GRAPH_FOLDER)
        try:
            if "content.values" in arrays:
                self._content = open_packed("content", arrays)
            self._trained_unreached = arrays["unreached"]
            self._use_graph(graph, arrays["late"])
        except KeyError as error:
            raise ArtefactError(
                f"{folder} has no array {error}.", "Train the model again."
            ) from None


def _multiply_top_rows(left: Sparse, right: Sparse | PackedSparse, count: int) -> Sparse:
    """``multiply_top``, reading only the rows of ``right``, possibly mapped, that it needs."""
    if left.shape[0] >= _MOST_ROWS and not isinstance(right, PackedSparse):
        # A copy of the rows that it needs would be as large as all.
        return multiply_top(left, right, count)
    rows, columns = np.unique(left.indices, return_inverse=True)
    shape = (left.shape[0], len(rows))
    needed = to_csr((left.data, columns.astype(np.int32), left.indptr), shape)
    return multiply_top(needed, to_csr(right[rows]), count)


def _find_empty_columns(steps: Sparse) -> IntArray:
    """Numbers of the columns without entries."""
    entries = np.bincount(steps.indices, minlength=steps.shape[1])
    return np.flatnonzero(entries == 0).astype(np.int32)
