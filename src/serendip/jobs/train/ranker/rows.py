"""Rows of the ranker: positives and negatives among the candidates of labelled requests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
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
from serendip.jobs.surface_quality.requests import LabelledQuery
from serendip.jobs.train.ranker.requests import LabelledRequests
from serendip.jobs.train.ranker.sample import RankerSample
from serendip.models.ranker.config import RankerRows, SearchSource
from serendip.runtime.progress import TrainOptions

NEGATIVES = 40
"""Largest number of negatives per request."""

MOST_COMPARED = 1_000
"""Searches of a source whose candidates are all kept, at most; about 60 kB each."""

_SHARE_FOR_ROWS = 0.8
"""Share of the ranker's time for its rows; the rest is for its training."""


@dataclass(frozen=True, slots=True, eq=False)
class SearchCandidates(RankerRows):
    """All candidates of searches, request by request, with what orders them without a ranker.

    Args:
        fused: (R,) float32 values of rank fusion; 0 = proposed by no source.
        pins: (R,) float32 levels of how well the text matches, before any order.
    """

    fused: FloatArray
    pins: FloatArray


def make_rows(
    batches: LabelledRequests,
    state: EngineState,
    settings: Settings,
    options: TrainOptions,
    rng: np.random.Generator,
) -> tuple[RankerSample, SearchCandidates | None] | None:
    """Rows of batches of requests, numbered from 0 on, until the time for them ends; None without.

    The features are those of a state without a ranker. Beside them come all candidates of up to
    ``MOST_COMPARED`` searches of each source that may decide what orders search.
    """
    time, total = options.allowance.from_now(_SHARE_FOR_ROWS), sum(len(part) for _, part in batches)
    compared_ids = _choose_compared(batches, settings)
    parts, made, compared = list[RankerRows](), list[LabelledQuery](), list[SearchCandidates]()
    for surface, labelled in options.progress.track(batches, "ranker rows", len(batches)):
        if time.is_over and parts:
            time.cut(len(made) / total)
            break
        found = label_candidates(labelled, surface, state, settings, len(made))
        parts.append(found.sample(labelled, rng))
        if found.searches is not None:
            kept = np.array([id(request) in compared_ids for request in labelled])
            compared.append(found.searches.at(kept[found.rows.group - len(made)]))
        made += labelled
    rows = RankerRows.joined([part for part in parts if len(part)])
    if rows is None:
        return None
    return RankerSample(rows, state.feature_names, made), SearchCandidates.joined(compared)


def _choose_compared(batches: LabelledRequests, settings: Settings) -> set[int]:
    """Identities of the requests whose candidates are all kept: an even share of each source."""
    surfaces, of_source = settings.all_surfaces(), defaultdict[SearchSource | None, list[int]](list)
    for surface, labelled in batches:
        for request in labelled:
            if can_compare(request, surfaces[surface]):
                of_source[request.source].append(id(request))
    chosen = set[int]()
    for requests in of_source.values():
        places = np.arange(len(requests) + 1) * min(1.0, MOST_COMPARED / len(requests))
        chosen.update(np.array(requests)[np.diff(np.floor(places)) > 0].tolist())
    return chosen


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
    columns = features, task, labels, weights, first_group + candidates.rows
    rows = RankerRows(*columns)
    searches = None
    if scored is not None:
        fused = fuse_by_rank(candidates, scored.batch.organic_proposals, len(labelled))
        searches = SearchCandidates(*columns, fused, scored.scores.pins)
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
