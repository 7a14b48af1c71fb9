"""Item-to-item transition graph, smoothed by content. Counted, not trained.

``M[i, j]`` is the sum of 1 / gap over all events with j that follow an event with i ``gap``
positions later in a history, plus half of that for the other direction, divided by sqrt(row sum +
1) and sqrt(column sum + 1), which reduces popularity bias; only the ``max_steps`` largest entries
of a row are stored. The score is
``h (M + w P M) + c (h E) E^T``: ``h`` the decayed history, ``P`` the weights of the nearest items
by content, through which an item with few transitions uses those of similar items, and ``E`` the
content vectors, for pure similarity (off with ``c`` = 0). Items without incoming transitions get
the weighted scores of their content neighbours, ``w P``, in the same way.

Shapes: B queries, N items, T distinct items of a query's context, C candidates, M changed or new
items, E content size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.growing_rows import append_rows, dot_rows, replace_rows
from serendip.data.item_features import ItemFeatures
from serendip.data.query import Query
from serendip.data.strings import map_array
from serendip.models.base import Recommender, VoteEvidence
from serendip.models.content_neighbours import find_content_neighbours
from serendip.models.context import build_context_matrix, compute_context_weights
from serendip.models.growing_sparse import GrowingSparse
from serendip.models.linalg import (
    Sparse,
    open_array,
    open_csr,
    resize,
    save_csr,
    select_columns,
    sum_rows,
    to_csr,
)
from serendip.models.pair_counts import PairCounter
from serendip.runtime.progress import TrainOptions

_STEPS_FOLDER, _NEIGHBOURS_FOLDER = "steps", "neighbours"
_CONTENT_FILE, _UNREACHED_FILE = "content.npy", "unreached.npy"

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
        self._matrix = self._count_steps(dataset, options)
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
        self._find_unreached()

    def _count_steps(self, dataset: Dataset, options: TrainOptions) -> Sparse:
        """M (N, N), the largest entries of each row."""
        config, log = self.config, dataset.events
        weights = (1.0 / np.arange(1, config.num_gaps + 1)).astype(np.float32)  # (G,)
        backward = config.backward_weight * weights
        counter = PairCounter(log.users, log.items, dataset.num_items, weights, backward)
        rows, columns = (1.0 / np.sqrt(sums + 1.0) for sums in counter.sums())  # (N,) each
        return counter.count_top(rows, columns, config.max_steps, options.progress)

    def _use_neighbours(self, neighbours: Sparse) -> None:
        """Smooth by content neighbours (N0, N0) of the trained items."""
        self._neighbours = GrowingSparse.of(neighbours, self.config.num_neighbours)

    def _find_unreached(self) -> None:
        """Cache the trained items without incoming transitions."""
        self._trained_unreached = _find_empty_columns(self._matrix)

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

    def _smooth(self, weights: Sparse) -> Sparse:
        """``h + w h P`` (B, N0): the context (B, N) and its content neighbours."""
        num_trained = self._matrix.shape[0]
        known = weights if weights.shape[1] == num_trained else to_csr(weights[:, :num_trained])
        if self._neighbours is None:
            return known
        items, columns = np.unique(weights.indices, return_inverse=True)  # (T,)
        shape = (weights.shape[0], len(items))
        context = to_csr((weights.data, columns.astype(np.int32), weights.indptr), shape)
        return known + self.config.spread_weight * (context @ self._neighbours.take(items))

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        context = build_context_matrix(queries, self._num_items, self.config.decay)  # h (B, N)
        scores = np.zeros(context.shape, np.float32)  # (B, N)
        trained = (self._smooth(context) @ self._matrix).toarray()  # (B, N0)
        scores[:, : trained.shape[1]] = trained
        unreached = self._unreached
        if self._neighbours is not None and len(unreached):
            neighbour_scores = self._neighbours.take(unreached) @ trained.T  # (M, B)
            scores[:, unreached] = self.config.spread_weight * neighbour_scores.T
        if self._content is not None and self.config.content_weight:
            sums = self.config.content_weight * sum_rows(context, self._content)  # (B, E)
            scores += dot_rows(sums, self._content)
        return scores

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and their contributions (T, C) to the scores of C items.

        Only the ``_MAX_VOTERS`` context items with the largest weights vote, largest first. The
        votes for an item add up to its score if the context has no more distinct items than that.
        """
        items, weights = compute_context_weights(query, self.num_items, self.config.decay)
        heaviest = np.argsort(-weights, kind="stable")[:_MAX_VOTERS]
        items, weights = items[heaviest], weights[heaviest]  # (T,) each
        cells = (np.arange(len(items)), items)
        single = to_csr((weights, cells), (len(items), self._num_items))  # one item per row
        steps = to_csr(self._smooth(single) @ self._matrix)  # (T, N0)
        votes = np.zeros((len(items), len(item_nums)), np.float32)  # (T, C)
        is_trained = item_nums < steps.shape[1]
        votes[:, is_trained] = select_columns(steps, item_nums[is_trained])
        if self._neighbours is not None:
            columns = np.flatnonzero(self._is_unreached(item_nums))
            neighbours = self._neighbours.take(item_nums[columns])  # (columns, N0)
            votes[:, columns] = self.config.spread_weight * (steps @ neighbours.T).toarray()
        if self._content is not None and self.config.content_weight:
            # (T, E)
            weighted = self.config.content_weight * weights[:, None] * self._content[items]
            votes += weighted @ self._content[item_nums].T
        return items, votes

    def _is_unreached(self, item_nums: IntArray) -> BoolArray:
        """(C,) True for items without incoming transitions."""
        is_newer: BoolArray = item_nums >= self._matrix.shape[0]
        if not len(self._trained_unreached):
            return is_newer
        last = len(self._trained_unreached) - 1
        places = np.minimum(np.searchsorted(self._trained_unreached, item_nums), last)
        is_found: BoolArray = self._trained_unreached[places] == item_nums
        return is_newer | is_found

    def _with_items(self, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        if self._content is None:
            return model
        model._content = append_rows(self._content, features.content)
        if self._neighbours is not None:
            numbers = self._num_items + np.arange(len(features), dtype=np.int32)
            # New items get neighbours among the trained ones, which keep theirs.
            new = self._find_neighbours(numbers, features)
            model._neighbours = self._neighbours.appended(new)
        return model

    def _with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        """Give changed items new neighbours.

        Items that had one as a neighbour get new ones too, unless the catalogue is so large that
        items are only compared with those near them: there they do at the next training.
        """
        if self._content is None:
            return self
        model = copy.copy(self)
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
        return model

    def _save(self, folder: Path) -> None:
        save_csr(folder / _STEPS_FOLDER, resize(self._matrix, self._num_items, self._num_items))
        if self._neighbours is not None:
            neighbours = resize(self._neighbours.whole(), self._num_items, self._num_items)
            save_csr(folder / _NEIGHBOURS_FOLDER, neighbours)
        if self._content is not None:
            np.save(folder / _CONTENT_FILE, self._content, allow_pickle=False)
        np.save(folder / _UNREACHED_FILE, self._unreached, allow_pickle=False)

    def _open(self, folder: Path) -> None:
        self._matrix = open_csr(folder / _STEPS_FOLDER)
        self._neighbours = self._content = None
        if (folder / _NEIGHBOURS_FOLDER).exists():
            self._use_neighbours(open_csr(folder / _NEIGHBOURS_FOLDER))
        if self._neighbours is not None or (folder / _CONTENT_FILE).exists():
            self._content = open_array(folder / _CONTENT_FILE)
        self._trained_unreached = map_array(folder / _UNREACHED_FILE)


def _find_empty_columns(steps: Sparse) -> IntArray:
    """Numbers of the columns without entries."""
    entries = np.bincount(steps.indices, minlength=steps.shape[1])
    return np.flatnonzero(entries == 0).astype(np.int32)
