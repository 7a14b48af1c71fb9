"""Item-to-item transition graph: what people do next. Not trained.

``M[i, j]`` sums 1/gap over every time j came ``gap`` steps after i in a history, and half of that
for the other direction, then is divided by sqrt(row sum + 1) and sqrt(column sum + 1), which
reduces popularity bias. The score is ``h (M + w P M) + c (h E) E^T``: ``h`` the decayed history,
``P`` the nearest items by content, so that an item with few transitions uses those of similar
items, ``E`` the content itself, for pure similarity (``c`` = 0: without). Items without incoming
transitions (posted yesterday, or new in the catalogue) use those of their content neighbours in the
same way.
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
from serendip.data.dataset import Dataset, pairs_by_gap
from serendip.data.item_features import ItemFeatures
from serendip.data.query import Query
from serendip.models.base import Recommender, VoteEvidence
from serendip.models.context import context_matrix, context_weights
from serendip.models.linalg import (
    Sparse,
    columns_of,
    content_neighbours,
    csr,
    open_array,
    open_csr,
    resized,
    save_csr,
    scaled_rows,
    stacked,
    with_rows,
    with_sparse_rows,
)
from serendip.runtime.progress import TrainOptions

_STEPS_FILE = "steps.safetensors"
_NEIGHBOURS_FILE = "neighbours.safetensors"
_CONTENT_FILE = "content.npy"

_MOST_VOTERS = 8
"""Items of a long context that are asked for votes: an explanation names fewer."""


class TransitionsConfig(Config):
    """Which steps count and how they spread."""

    mode: Literal["plain", "spread"] = "spread"
    """``spread`` needs content features and is ``plain`` where the dataset has none."""

    num_gaps: int = Field(default=10, ge=1)
    """Items this many places apart still count as a step."""

    backward_weight: float = Field(default=0.5, ge=0)
    """A step against the order of time, relative to one with it."""

    decay: float = Field(default=0.8, gt=0, le=1)
    """Weight of an event relative to the one after it."""

    num_neighbours: int = Field(default=20, ge=1)
    """Content neighbours that an item borrows steps from."""

    spread_weight: float = Field(default=1.0, ge=0)
    """A borrowed step, relative to an own one."""

    content_weight: float = Field(default=0.0, ge=0)
    """What a content cosine of 1 adds, in units of a step; needs content features like
    ``spread`` does, and goes with ``plain`` as well."""


class Transitions(Recommender):
    """Score of j = weighted steps from the context's items, and from things like them, to j."""

    name = "transitions"
    config_class = TransitionsConfig
    label = "Chosen next"
    origin = "what people choose next"
    score_kind = "count"
    evidence = VoteEvidence("transition", "Often chosen next after {title} or its like")
    config: TransitionsConfig

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        steps = self._normalised(self._steps(dataset))
        self._neighbours: Sparse | None = None
        self._content: FloatArray | None = None
        spreads = self.config.mode == "spread"
        if dataset.features is not None and (spreads or self.config.content_weight):
            self._content = dataset.features.content
            if spreads:
                everything = np.arange(dataset.num_items, dtype=np.int32)
                self._neighbours = self._nearest(everything, self._content, self._content)
        self._matrix = steps
        self._find_unreached()

    def _steps(self, dataset: Dataset) -> Sparse:
        """(N, N) sums of forward and backward steps, no item stepping to itself."""
        shape = (dataset.num_items, dataset.num_items)
        steps = csr(shape)
        log = dataset.events
        for gap, source, target in pairs_by_gap(log.users, log.items, self.config.num_gaps):
            values = np.full(len(source), 1.0 / gap, dtype=np.float32)
            steps += csr((values, (source, target)), shape)
        return csr(steps + self.config.backward_weight * steps.T)

    @staticmethod
    def _normalised(steps: Sparse) -> Sparse:
        rows = 1.0 / np.sqrt(steps.sum(axis=1) + 1.0)
        columns = 1.0 / np.sqrt(steps.sum(axis=0) + 1.0)
        scaled = scaled_rows(steps, rows)
        scaled.data *= columns[scaled.indices]
        return scaled

    def _find_unreached(self) -> None:
        """Keep what borrowing needs, so that a request slices nothing."""
        if self._neighbours is not None:
            self._unreached = _empty_columns(self._matrix)
            self._borrowing: Sparse = self._neighbours[self._unreached]

    def _nearest(self, numbers: IntArray, vectors: FloatArray, catalogue: FloatArray) -> Sparse:
        return content_neighbours(vectors, numbers, catalogue, self.config.num_neighbours)

    def _spread(self, weights: Sparse) -> Sparse:
        """``h + w h P``: the context and, weaker, the things that are like it."""
        if self._neighbours is None:
            return weights
        return weights + self.config.spread_weight * (weights @ self._neighbours)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        context = context_matrix(queries, self._num_items, self.config.decay)
        scores: FloatArray = (self._spread(context) @ self._matrix).toarray()
        if self._neighbours is not None and len(self._unreached):
            borrowed = self._borrowing @ scores.T
            scores[:, self._unreached] = self.config.spread_weight * borrowed.T
        if self._content is not None and self.config.content_weight:
            scores += (self.config.content_weight * (context @ self._content)) @ self._content.T
        return scores

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and what each gives (T, C) to the scores of some items.

        Of a long context only the ``_MOST_VOTERS`` with the largest weights are asked, so the votes
        for an item add up to its score in contexts of that many distinct items or fewer. Largest
        weight first.
        """
        items, weights = context_weights(query, self.num_items, self.config.decay)
        loudest = np.argsort(-weights, kind="stable")[:_MOST_VOTERS]
        items, weights = items[loudest], weights[loudest]
        place = (np.arange(len(items)), items)
        single = csr((weights, place), (len(items), self._num_items))
        steps = csr(self._spread(single) @ self._matrix)
        votes = columns_of(steps, item_nums)
        if self._neighbours is not None:
            borrows = np.flatnonzero(np.isin(item_nums, self._unreached))
            lenders = self._neighbours[item_nums[borrows]]
            votes[:, borrows] = self.config.spread_weight * (steps @ lenders.T).toarray()
        if self._content is not None and self.config.content_weight:
            wants = self.config.content_weight * weights[:, None] * self._content[items]
            votes += wants @ self._content[item_nums].T
        return items, votes

    def _with_items(self, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        old, total = self._num_items, self._num_items + len(features)
        model._matrix = resized(self._matrix, total, total)
        if self._content is None:
            return model
        model._content = np.concatenate([self._content, features.content])
        if self._neighbours is not None:
            numbers = np.arange(old, total, dtype=np.int32)
            new = self._nearest(numbers, features.content, self._content)
            new = resized(new, len(features), total)
            model._neighbours = stacked([resized(self._neighbours, old, total), new], total)
            model._find_unreached()
        return model

    def _with_changed_items(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        if self._content is None:
            return self
        model = copy.copy(self)
        model._content = with_rows(self._content, item_nums, features.content)
        if self._neighbours is None:
            return model
        # Whoever borrowed from a changed item may have to borrow elsewhere now.
        entries = np.flatnonzero(np.isin(self._neighbours.indices, item_nums))
        borrowers = np.searchsorted(self._neighbours.indptr, entries, side="right") - 1
        numbers = np.union1d(item_nums, borrowers).astype(np.int32)
        new = self._nearest(numbers, model._content[numbers], model._content)
        model._neighbours = with_sparse_rows(self._neighbours, numbers, new)
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


def _empty_columns(steps: Sparse) -> IntArray:
    """Numbers of the columns without any entry."""
    entries = np.bincount(steps.indices, minlength=steps.shape[1])
    return np.flatnonzero(entries == 0).astype(np.int32)
