"""Likeness: a surface of items that are like those of the request, whoever chose them.

Candidates stay if they are more like the source items than random pairs of items are, by the model
``content``; at least the ``_FEWEST`` that are most alike. They are ordered by likeness, from 0 for
what the floor lets through to 1 for the most alike candidate, plus a share of the value of what is
chosen next, from 0 to 1 for the best candidates, and a weight times the share of likes, so that of
two that are as much alike the better comes first. What hardly anybody chose, and is not new, is
less alike: n people count (n + 1) / (n + 2). Without anything known of the source items, what
is chosen next orders all candidates.

Shapes: R candidate rows, C of one query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.stages.surfaces import LikenessConfig, SurfaceConfig
from serendip.engine.state import EngineState
from serendip.models.content_similarity import ContentSimilarity

MODEL = ContentSimilarity.name

LIKENESS = "likeness"
"""Name of the stage in explanations."""

_FEWEST = 10
"""Candidates that stay although they are no more like the source items than any others."""

_FULL = 5
"""The candidate of this place by value, and all before it, have the whole share of the value."""


def find_likeness(surface: SurfaceConfig, state: EngineState) -> LikenessConfig | None:
    """How a surface is ordered by likeness; None = it is not, or the model is missing."""
    return surface.order_by_likeness if MODEL in state.models else None


def keep_alike(batch: Batch, candidates: Candidates, also: Sequence[IntArray] = ()) -> Candidates:
    """The candidates that are like the source items of their query.

    Those that more people rejected than chose stay only where there are not ``_FEWEST`` others.

    Args:
        batch: B queries.
        candidates: R rows.
        also: per query items that stay whatever they are; empty = none for any.
    """
    kept, floor = np.zeros(len(candidates), np.bool_), floor_of(batch.state)
    state = batch.state
    is_rejected = state.reception.are_rejected(candidates.items, state.counts)  # (R,)
    for part, likeness in _compare(batch, candidates):
        if np.count_nonzero(~is_rejected[part]) >= _FEWEST:
            likeness = np.where(is_rejected[part], -np.inf, likeness)
        least = -np.sort(-likeness)[:_FEWEST][-1]
        kept[part] = (likeness > floor) | (likeness >= least)
    if also:
        kept |= np.isin(candidates.items, np.concatenate(also))
    return Candidates(candidates.rows[kept], candidates.items[kept])


def order_by_likeness(
    batch: Batch, candidates: Candidates, values: FloatArray, config: LikenessConfig
) -> FloatArray:
    """(R,) float32: likeness, what is chosen next by its values (R,), and what is liked."""
    state, items = batch.state, candidates.items
    ordered = config.quality_weight * state.quality[items]  # (R,)
    counts = np.asarray(state.counts[items], np.float32)
    evidence = np.where(state.new_items.mask[items], 1.0, (counts + 1) / (counts + 2))  # (R,)
    for part, likeness in _compare(batch, candidates):
        alike = np.maximum(likeness - floor_of(state), 0.0) * evidence[part]
        chosen = values[part] - values[part].min()
        full = np.sort(chosen)[-_FULL:][0]
        ordered[part] += (1 - config.choice_share) * _to_share(alike, alike.max())
        ordered[part] += config.choice_share * _to_share(chosen, full)
    return ordered


def floor_of(state: EngineState) -> float:
    """Likeness that 95 % of random pairs of items do not reach."""
    model = state.models.get(MODEL)
    return model.floor if isinstance(model, ContentSimilarity) else 0.0


def _compare(batch: Batch, candidates: Candidates) -> Iterator[tuple[slice, FloatArray]]:
    """Rows of each query that has candidates, and their likeness (C,) to its source items."""
    likeness = batch.scores(MODEL).of_items(candidates.rows, candidates.items)
    for begin, end in pairwise(candidates.bounds(len(batch.queries))):
        if end > begin:
            yield slice(begin, end), likeness[begin:end]


def _to_share(values: FloatArray, full: np.floating) -> FloatArray:
    """Values (C,) as shares of ``full``, at most 1."""
    shares: FloatArray = np.minimum(values / max(float(full), 1e-12), 1.0)
    return shares
