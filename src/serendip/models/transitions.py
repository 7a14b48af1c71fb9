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
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import Dataset
from serendip.data.item_features import ItemFeatures
from serendip.data.query import Query
from serendip.models.base import Recommender, VoteEvidence
from serendip.models.content_neighbours import find_content_neighbours
from serendip.models.context import build_context_matrix, compute_context_weights
from serendip.models.linalg import (
    Sparse,
    open_array,
    open_csr,
    replace_rows,
    replace_sparse_rows,
    resize,
    save_csr,
    select_columns,
    stack_rows,
    to_csr,
)
from serendip.models.pair_counts import PairCounter
from serendip.runtime.progress import TrainOptions

_STEPS_FILE = "steps.safetensors"
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
        self._neighbours: Sparse | None = None
        self._content: FloatArray | None = None
        is_smoothed = self.config.mode == "spread"
        if dataset.features is not None and (is_smoothed or self.config.content_weight):
            self._content = dataset.features.content  # (N, E)
            if is_smoothed:
                all_items = np.arange(dataset.num_items, dtype=np.int32)
                self._neighbours = self._find_neighbours(all_items, self._content, self._content)
        self._find_unreached()

    def _count_steps(self, dataset: Dataset, options: TrainOptions) -> Sparse:
        """M (N, N), the largest entries of each row."""
        config, log = self.config, dataset.events
        weights = (1.0 / np.arange(1, config.num_gaps + 1)).astype(np.float32)  # (G,)
        backward = config.backward_weight * weights
        counter = PairCounter(log.users, log.items, dataset.num_items, weights, backward)
        rows, columns = (1.0 / np.sqrt(sums + 1.0) for sums in counter.sums())  # (N,) each
        return counter.count_top(rows, columns, config.max_steps, options.progress)

    def _find_unreached(self) -> None:
        """Cache the items without incoming transitions (M,) and their neighbours (M, N)."""
        if self._neighbours is not None:
            self._unreached = _find_empty_columns(self._matrix)
            self._unreached_neighbours: Sparse = self._neighbours[self._unreached]

    def _find_neighbours(
        self, numbers: IntArray, vectors: FloatArray, catalogue: FloatArray
    ) -> Sparse:
        """Weights (M, N) of the nearest catalogue items by content."""
        return find_content_neighbours(vectors, numbers, catalogue, self.config.num_neighbours)

    def _smooth(self, weights: Sparse) -> Sparse:
        """``h + w h P`` (B, N): the context and its content neighbours."""
        if self._neighbours is None:
            return weights
        return weights + self.config.spread_weight * (weights @ self._neighbours)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        context = build_context_matrix(queries, self._num_items, self.config.decay)  # h (B, N)
        scores: FloatArray = (self._smooth(context) @ self._matrix).toarray()  # (B, N)
        if self._neighbours is not None and len(self._unreached):
            neighbour_scores = self._unreached_neighbours @ scores.T  # (M, B)
            scores[:, self._unreached] = self.config.spread_weight * neighbour_scores.T
        if self._content is not None and self.config.content_weight:
            scores += (self.config.content_weight * (context @ self._content)) @ self._content.T
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
        steps = to_csr(self._smooth(single) @ self._matrix)  # (T, N)
        votes = select_columns(steps, item_nums)  # (T, C)
        if self._neighbours is not None:
            columns = np.flatnonzero(np.isin(item_nums, self._unreached))
            neighbours = self._neighbours[item_nums[columns]]  # (columns, N)
            votes[:, columns] = self.config.spread_weight * (steps @ neighbours.T).toarray()
        if self._content is not None and self.config.content_weight:
            # (T, E)
            weighted = self.config.content_weight * weights[:, None] * self._content[items]
            votes += weighted @ self._content[item_nums].T
        return items, votes

    def _with_items(self, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        old, total = self._num_items, self._num_items + len(features)
        model._matrix = resize(self._matrix, total, total)
        if self._content is None:
            return model
        model._content = np.concatenate([self._content, features.content])
        if self._neighbours is not None:
            numbers = np.arange(old, total, dtype=np.int32)
            # New items get neighbours among the old ones; old items keep theirs.
            new = self._find_neighbours(numbers, features.content, self._content)
            new = resize(new, len(features), total)
            model._neighbours = stack_rows([resize(self._neighbours, old, total), new], total)
            model._find_unreached()
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
        model._find_unreached()
        return model

    def _save(self, folder: Path) -> None:
        save_csr(folder / _STEPS_FILE, self._matrix)
        if self._neighbours is not None:
            save_csr(folder / _NEIGHBOURS_FILE, self._neighbours)
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


def _find_empty_columns(steps: Sparse) -> IntArray:
    """Numbers of the columns without entries."""
    entries = np.bincount(steps.indices, minlength=steps.shape[1])
    return np.flatnonzero(entries == 0).astype(np.int32)
