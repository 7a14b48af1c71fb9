"""Rows of the ranker: positives and negatives among the candidates of labelled requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.query import TASKS, Query
from serendip.engine.settings import Settings
from serendip.engine.stages.pipeline import collect
from serendip.engine.state import EngineState
from serendip.models.ranker.config import RankerRows
from serendip.runtime.budget import Allowance
from serendip.runtime.progress import TrainOptions

NEGATIVES = 40
"""Largest number of negatives per request."""

_SHARE_FOR_ROWS = 0.8
"""Share of the ranker's time for its rows; the rest is for its training."""


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A request and its positives.

    Args:
        items: (P,) int32 chosen items.
        actions: labels of each chosen item (see ``label_actions``).
        shown: items of the answer, chosen or not; empty = unknown.
        weights: (P,) weight of each chosen item in the loss, by its position; empty = 1.
        user_id: external id of who asked, known or not to the models; empty = not known.
    """

    query: Query
    items: IntArray
    actions: Sequence[frozenset[str]]
    shown: IntArray = field(default_factory=lambda: NO_ITEMS)
    weights: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))
    user_id: str = ""

    def items_with(self, action: str) -> IntArray:
        """The chosen items with this label."""
        return self.items[[action in labels for labels in self.actions]]

    def weights_of(self, item_nums: IntArray) -> FloatArray:
        """(C,) float32 weights of candidates: 1 unless a chosen item has another."""
        found = np.ones(len(item_nums), np.float32)
        for item, weight in zip(self.items.tolist(), self.weights.tolist(), strict=False):
            found[item_nums == item] = weight
        return found


LabelledRequests = Sequence[tuple[str, Sequence[LabelledQuery]]]
"""Surface and its requests."""

Batches = list[tuple[str, Sequence[LabelledQuery]]]
"""Surface and some of its requests."""


@dataclass(slots=True)
class RowMaking:
    """Makes the rows of batches of requests, numbered from 0 on, until the time for them ends.

    Args:
        settings: surfaces and the ranker's config.
        options: progress and time.
        total: number of all requests.
        rng: draws of negatives.
        parts: rows that were made.
        made: requests that have them.
    """

    settings: Settings
    options: TrainOptions
    total: int
    rng: np.random.Generator
    parts: list[RankerRows] = field(default_factory=list)
    made: list[LabelledQuery] = field(default_factory=list)
    time: Allowance = field(init=False)

    def __post_init__(self) -> None:
        self.time = self.options.allowance.from_now(_SHARE_FOR_ROWS)

    def add(self, batches: Batches, state: EngineState) -> None:
        """Make the rows of batches, with the features of a state."""
        for surface, labelled in self.options.progress.track(batches, "ranker rows", len(batches)):
            if self.time.is_over and self.parts:
                self.time.cut(len(self.made) / self.total)
                continue
            first = len(self.made)
            self.parts.append(build_rows(labelled, surface, state, self.settings, first, self.rng))
            self.made.extend(labelled)

    def rows(self) -> RankerRows | None:
        """All rows; None without any."""
        return _concatenate([part for part in self.parts if len(part.features)])


def build_rows(
    labelled: Sequence[LabelledQuery],
    surface: str,
    state: EngineState,
    settings: Settings,
    first_group: int,
    rng: np.random.Generator,
) -> RankerRows:
    """Build the rows of a batch of requests: positives and negatives among the candidates.

    Requests without known shown items are left out if no source proposed a positive. Requests are
    numbered from ``first_group`` on.
    """
    config = settings.all_surfaces()[surface]
    queries = [request.query for request in labelled]
    shown = [request.shown for request in labelled]
    candidates, features = collect(queries, config, state, shown)
    actions = settings.ranker.actions
    labels = np.zeros((len(candidates), len(actions)), dtype=np.float32)
    weights = np.ones(len(candidates), dtype=np.float32)
    selected: list[NDArray[np.intp]] = []
    for row, (begin, end) in enumerate(pairwise(candidates.bounds(len(labelled)))):
        items = candidates.items[begin:end]
        chosen = np.isin(items, labelled[row].items)
        has_shown = len(shown[row]) > 0
        if not chosen.any() and not has_shown:
            continue
        for column, action in enumerate(actions):
            labels[begin:end, column] = np.isin(items, labelled[row].items_with(action))
        weights[begin:end] = labelled[row].weights_of(items)
        seen = np.isin(items, shown[row]) if has_shown else np.ones(len(items), np.bool_)
        negatives = np.flatnonzero(seen & ~chosen)
        sampled = rng.choice(negatives, min(NEGATIVES, len(negatives)), replace=False)
        selected.append(begin + np.sort(np.concatenate([np.flatnonzero(chosen), sampled])))
    rows = np.concatenate(selected) if selected else np.empty(0, np.intp)
    return RankerRows(
        features=features[rows],
        task=np.full(len(rows), TASKS.index(config.task), dtype=np.int64),
        labels=labels[rows],
        weights=weights[rows],
        group=first_group + candidates.rows[rows],
    )


def _concatenate(parts: Sequence[RankerRows]) -> RankerRows | None:
    """All rows; None without any part."""
    if not parts:
        return None
    return RankerRows(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("features", "task", "labels", "weights", "group")
        }
    )
