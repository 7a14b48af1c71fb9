"""Rows of the ranker: positives and negatives among the candidates of labelled requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.query import TASKS
from serendip.engine.config.settings import Settings
from serendip.engine.stages.pipeline import collect, score
from serendip.engine.stages.scoring import fuse_by_rank
from serendip.engine.stages.surfaces import RANKER, SurfaceConfig
from serendip.engine.state import EngineState
from serendip.jobs.train.ranker.labels import Batches, LabelledQuery
from serendip.models.ranker.config import RankerRows, SearchSource
from serendip.runtime.budget import Allowance
from serendip.runtime.progress import TrainOptions

NEGATIVES = 40
"""Largest number of negatives per request."""

MOST_COMPARED = 1_000
"""Searches of a source whose candidates are all kept, at most; about 60 kB each."""

_SHARE_FOR_ROWS = 0.8
"""Share of the ranker's time for its rows; the rest is for its training."""


@dataclass(frozen=True, slots=True, eq=False)
class SearchCandidates:
    """All candidates of searches, with what orders them without a ranker.

    Args:
        rows: R candidates, request by request.
        fused: (R,) float32 values of rank fusion; 0 = proposed by no source.
        pins: (R,) float32 levels of how well the text matches, before any order.
    """

    rows: RankerRows
    fused: FloatArray
    pins: FloatArray

    @classmethod
    def joined(cls, parts: Sequence[SearchCandidates]) -> SearchCandidates | None:
        """Candidates of several batches; None without any."""
        rows = _concatenate([part.rows for part in parts])
        if rows is None:
            return None
        fused, pins = ([getattr(part, name) for part in parts] for name in ("fused", "pins"))
        return cls(rows, np.concatenate(fused), np.concatenate(pins))

    def at(self, kept: BoolArray) -> SearchCandidates:
        """The rows where ``kept`` (R,) is true."""
        return SearchCandidates(self.rows.at(kept), self.fused[kept], self.pins[kept])

    def with_columns(self, kept: BoolArray) -> SearchCandidates:
        """The same rows with the features where ``kept`` (F,) is true."""
        return replace(self, rows=self.rows.with_columns(kept))


@dataclass(slots=True)
class RowMaking:
    """Makes the rows of batches of requests, numbered from 0 on, until the time for them ends.

    Args:
        deciding: source -> number of those that may decide what orders search.
        compared: all candidates of up to ``MOST_COMPARED`` of these searches per source.
    """

    settings: Settings
    options: TrainOptions
    total: int
    deciding: Mapping[SearchSource | None, int]
    rng: np.random.Generator
    parts: list[RankerRows] = field(default_factory=list)
    made: list[LabelledQuery] = field(default_factory=list)
    compared: list[SearchCandidates] = field(default_factory=list)
    time: Allowance = field(init=False)
    _asked: Counter[SearchSource | None] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.time = self.options.allowance.from_now(_SHARE_FOR_ROWS)

    def add(self, batches: Batches, state: EngineState) -> None:
        """Make the rows of batches, with the features of a state without a ranker."""
        for surface, labelled in self.options.progress.track(batches, "ranker rows", len(batches)):
            if self.time.is_over and self.parts:
                self.time.cut(len(self.made) / self.total)
                break
            first = len(self.made)
            self._take(labelled, label_candidates(labelled, surface, state, self.settings, first))

    def _take(self, labelled: Sequence[LabelledQuery], found: LabelledCandidates) -> None:
        first = len(self.made)
        self.parts.append(found.sample(labelled, self.rng))
        if found.searches is not None:
            kept = [self._compares(request) for request in labelled]
            group = found.rows.group - first
            self.compared.append(found.searches.at(np.array(kept)[group]))
        self.made.extend(labelled)

    def _compares(self, request: LabelledQuery) -> bool:
        """Whether the candidates of a request are kept: those of an even share of the searches."""
        if not request.can_decide:
            return False
        share = min(1.0, MOST_COMPARED / max(1, self.deciding[request.source]))
        self._asked[request.source] += 1
        count = self._asked[request.source]
        return int(count * share) > int((count - 1) * share)

    def keep_columns(self, kept: BoolArray) -> None:
        """Drop the features of all rows where ``kept`` (F,) is false."""
        self.parts = [part.with_columns(kept) for part in self.parts]
        self.compared = [part.with_columns(kept) for part in self.compared]

    def rows(self) -> RankerRows | None:
        """All rows; None without any."""
        return _concatenate([part for part in self.parts if len(part.features)])


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCandidates:
    """All candidates of a batch of requests with their labels.

    Args:
        rows: R candidates, request by request.
        items: (R,) int32 their item numbers.
        bounds: B + 1; the candidates of request b are rows ``bounds[b]:bounds[b + 1]``.
        searches: the same rows, if some of the requests may decide what orders search.
    """

    rows: RankerRows
    items: IntArray
    bounds: Sequence[int]
    searches: SearchCandidates | None

    def sample(self, labelled: Sequence[LabelledQuery], rng: np.random.Generator) -> RankerRows:
        """Positives and at most ``NEGATIVES`` negatives of each of the requests.

        Requests without known shown items are left out if no source proposed a positive.
        """
        kept = np.zeros(len(self.items), np.bool_)
        for request, (begin, end) in zip(labelled, pairwise(self.bounds), strict=True):
            items = self.items[begin:end]
            chosen = np.isin(items, request.items)
            if chosen.any() or len(request.shown):
                kept[begin:end] = chosen
                kept[begin + _choose_negatives(request, items, chosen, rng)] = True
        return self.rows.at(kept)


def can_compare(request: LabelledQuery, surface: SurfaceConfig) -> bool:
    """Whether a request may decide what orders search: not if a model orders its surface."""
    return request.can_decide and surface.scorer == RANKER


def label_candidates(
    labelled: Sequence[LabelledQuery],
    surface: str,
    state: EngineState,
    settings: Settings,
    first_group: int,
) -> LabelledCandidates:
    """Candidates of a batch of B requests, which are numbered from ``first_group`` on.

    They are made on a surface, of a state without a ranker.
    """
    config, actions = settings.all_surfaces()[surface], settings.ranker.actions
    queries = [request.query for request in labelled]
    shown = [request.shown for request in labelled]
    is_compared = any(can_compare(request, config) for request in labelled)
    scored = score(queries, config, state, shown)[0] if is_compared else None
    if scored is None:
        candidates, features = collect(queries, config, state, shown)
    else:
        candidates, features = scored.candidates, scored.features
    bounds = candidates.bounds(len(labelled))
    labels = np.zeros((len(candidates), len(actions)), dtype=np.float32)
    weights = np.ones(len(candidates), dtype=np.float32)
    for request, (begin, end) in zip(labelled, pairwise(bounds), strict=True):
        items = candidates.items[begin:end]
        for column, action in enumerate(actions):
            labels[begin:end, column] = np.isin(items, request.items_with(action))
        weights[begin:end] = request.weights_of(items)
    task = np.full(len(candidates), TASKS.index(config.task), dtype=np.int64)
    rows = RankerRows(features, task, labels, weights, first_group + candidates.rows)
    searches = None
    if scored is not None:
        fused = fuse_by_rank(candidates, scored.batch.organic_proposals, len(labelled))
        searches = SearchCandidates(rows, fused, scored.scores.pins)
    return LabelledCandidates(rows, candidates.items, bounds, searches)


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
    if not parts:
        return None
    return RankerRows(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("features", "task", "labels", "weights", "group")
        }
    )
