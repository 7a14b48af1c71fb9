"""Rows of the ranker: positives and negatives among the candidates of labelled requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, IntArray
from serendip.data.query import TASKS
from serendip.engine.settings import Settings
from serendip.engine.stages.pipeline import collect
from serendip.engine.state import EngineState
from serendip.jobs.train.labelled_query import Batches, LabelledQuery
from serendip.models.ranker.config import RankerRows
from serendip.runtime.budget import Allowance
from serendip.runtime.progress import TrainOptions

NEGATIVES = 40
"""Largest number of negatives per request."""

_SHARE_FOR_ROWS = 0.8
"""Share of the ranker's time for its rows; the rest is for its training."""


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
        if not chosen.any() and not len(shown[row]):
            continue
        for column, action in enumerate(actions):
            labels[begin:end, column] = np.isin(items, labelled[row].items_with(action))
        weights[begin:end] = labelled[row].weights_of(items)
        negatives = _choose_negatives(labelled[row], items, chosen, rng)
        selected.append(begin + np.sort(np.concatenate([np.flatnonzero(chosen), negatives])))
    rows = np.concatenate(selected) if selected else np.empty(0, np.intp)
    return RankerRows(
        features=features[rows],
        task=np.full(len(rows), TASKS.index(config.task), dtype=np.int64),
        labels=labels[rows],
        weights=weights[rows],
        group=first_group + candidates.rows[rows],
    )


def _choose_negatives(
    labelled: LabelledQuery, items: IntArray, chosen: BoolArray, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Places of at most ``NEGATIVES`` of the candidates (C,) that were not chosen.

    Those labelled as irrelevant come first, the rest is drawn: from the shown items if these are
    known.
    """
    known = np.flatnonzero(np.isin(items, labelled.irrelevant) & ~chosen)[:NEGATIVES]
    is_open = ~chosen
    is_open[known] = False
    if len(labelled.shown):
        is_open &= np.isin(items, labelled.shown)
    others = np.flatnonzero(is_open)
    count = min(NEGATIVES - len(known), len(others))
    return np.concatenate([known, rng.choice(others, count, replace=False)])


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
