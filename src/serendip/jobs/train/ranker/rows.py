"""Rows of the ranker: positives and negatives among the candidates of labelled requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.query import TASKS
from serendip.engine.config.settings import Settings
from serendip.engine.stages.pipeline import score
from serendip.engine.stages.scoring import fuse_by_rank
from serendip.engine.stages.surfaces import RANKER
from serendip.engine.state import EngineState
from serendip.jobs.surface_quality.requests import OF_PEOPLE, LabelledQuery
from serendip.jobs.train.ranker.requests import LabelledRequests
from serendip.jobs.train.ranker.sample import RankerSample, even_share
from serendip.models.ranker.config import RankerRows
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
    is_compared = _choose_compared(batches, settings)  # (Q,)
    parts, made, compared = list[RankerRows](), list[LabelledQuery](), list[SearchCandidates]()
    for surface, labelled in options.progress.track(batches, "ranker rows", len(batches)):
        if time.is_over and parts:
            time.cut(len(made) / total)
            break
        found, kept = label_candidates(labelled, surface, state, settings, len(made), rng)
        parts.append(found.at(kept))
        compared.append(found.at(is_compared[found.group]))
        made += labelled
    rows = RankerRows.joined([part for part in parts if len(part)])
    if rows is None:
        return None
    return RankerSample(rows, state.feature_names, made), SearchCandidates.joined(compared)


def _choose_compared(batches: LabelledRequests, settings: Settings) -> BoolArray:
    """(Q,) bool, the requests whose candidates are all kept: an even share of each source.

    Not those of a surface that a model orders.
    """
    surfaces = settings.all_surfaces()
    made = [(surfaces[surface], request) for surface, labelled in batches for request in labelled]
    may = np.array([one.can_decide and surface.scorer == RANKER for surface, one in made])
    source_of = np.array([request.source or "" for _, request in made])
    masks = [even_share(may & (source_of == source), MOST_COMPARED) for source in OF_PEOPLE]
    return np.asarray(np.logical_or.reduce(masks))


def label_candidates(
    labelled: Sequence[LabelledQuery],
    surface: str,
    state: EngineState,
    settings: Settings,
    first_group: int,
    rng: np.random.Generator,
) -> tuple[SearchCandidates, BoolArray]:
    """Candidates of a batch of requests, which are numbered from ``first_group`` on.

    They are made on a surface, of a state without a ranker. Returns also which of them (R,) are
    learned: positives and at most ``NEGATIVES`` negatives of each request, none of one without
    known shown items of which no source proposed a positive.
    """
    config, actions = settings.all_surfaces()[surface], settings.ranker.actions
    queries = [request.query for request in labelled]
    shown = [request.shown for request in labelled]
    scored, _ = score(queries, config, state, shown)
    candidates = scored.candidates
    labels = np.zeros((len(candidates), len(actions)), dtype=np.float32)
    weights, kept = np.ones(len(labels), np.float32), np.zeros(len(labels), np.bool_)
    parts = pairwise(candidates.bounds(len(labelled)))
    for request, (begin, end) in zip(labelled, parts, strict=True):
        items = candidates.items[begin:end]
        for column, action in enumerate(actions):
            labels[begin:end, column] = np.isin(items, request.items_with(action))
        weights[begin:end] = request.weights_of(items)
        chosen = np.isin(items, request.items)
        if chosen.any() or len(request.shown):
            kept[begin:end] = chosen
            kept[begin + _choose_negatives(request, items, chosen, rng)] = True
    task = np.full(len(candidates), TASKS.index(config.task), dtype=np.int64)
    group, pins = first_group + candidates.rows, scored.scores.pins
    fused = fuse_by_rank(candidates, scored.batch.organic_proposals, len(labelled))
    return SearchCandidates(scored.features, task, labels, weights, group, fused, pins), kept


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
