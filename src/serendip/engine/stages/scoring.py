"""What candidates are worth: to the user, and to who pays for a place.

What candidates are worth by their ranks alone: where nothing has learned to order them.

Scores of several sources need no common scale; a candidate is worth the sum of 1 / (60 + rank) over
the sources that propose it. (Cormack, Clarke and Buettcher 2009, see ``search.rank_fusion``; here
equal scores share a rank.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.item_list import ItemList
from serendip.data.query import TASKS
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.stages.sponsored import SOURCE, bids_of
from serendip.engine.stages.surfaces import RANKER
from serendip.models.ranker.model import action_value
from serendip.search.rank_fusion import RANK_CONSTANT
from serendip.search.understanding import CORRECTED

_BITS = 14
"""Bits of a number that count in an order; the last ten of a float32 depend on what is computed
beside it."""


def round_scores(values: FloatArray) -> FloatArray:
    """Values (R,) without what differs by rounding: the same alone and in any batch."""
    mantissa, exponent = np.frexp(values)
    rounded = np.ldexp(np.round(mantissa * 2.0**_BITS), exponent - _BITS)
    return np.asarray(rounded, np.float32)


def ranks(scores: FloatArray) -> FloatArray:
    """Ranks (C,) of scores that never rise, from 1; equal ones share the mean of their ranks.

    The mean and not the best: what alone has all words must stand out from the many that have the
    same few of them.
    """
    levels = round_scores(scores)
    falls = np.append(True, levels[1:] != levels[:-1])[: len(scores)]
    group = np.cumsum(falls) - 1
    sizes = np.bincount(group)
    means = np.cumsum(sizes) - (sizes - 1) / 2
    return np.asarray(means[group], np.float32)


def fuse_by_rank(
    candidates: Candidates, found: Mapping[str, list[ItemList]], num_queries: int
) -> FloatArray:
    """(R,) float32 of candidate rows.

    Args:
        candidates: R rows.
        found: source -> a list per query, best first; all of them are candidates.
        num_queries: B.
    """
    values = np.zeros(len(candidates))
    bounds = candidates.bounds(num_queries)
    for lists in found.values():
        for row, items in enumerate(lists):
            part = candidates.items[bounds[row] : bounds[row + 1]]
            places = bounds[row] + np.searchsorted(part, items.item_nums)
            values[places] += 1.0 / (RANK_CONSTANT + ranks(items.scores))
    return values.astype(np.float32)


_PIN = 1_000.0
"""Score of exact titles; far above any sum of weighted probabilities or of ranks."""

_RARE = 20.0
"""Interactions below which being rare is no merit: the discount of popularity starts here."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Numbers of R candidate rows.

    Args:
        organic: (R,) float32 worth to the user.
        pins: (R,) float32 score of what stands first whatever it is worth; 0 = not pinned.
        bids: (R,) float32 bids; all 0 where nothing can be bought.
        earned: (R,) float32 bid x P(action that is paid for).
        probabilities: action -> (R,) float32 of the ranker that ordered the rows; none of another.
    """

    organic: FloatArray
    pins: FloatArray
    bids: FloatArray
    earned: FloatArray
    probabilities: Mapping[str, FloatArray]


def score_candidates(
    batch: Batch,
    candidates: Candidates,
    features: FloatArray,
    found: Mapping[str, list[ItemList]],
) -> Scores:
    """By the ranker, or the model that the surface names; else by the ranks that sources give."""
    surface, ranker = batch.surface, batch.state.ranker
    if surface.scorer in batch.state.models:
        return _score_by_model(batch, candidates)
    if surface.scorer != RANKER:
        batch.degraded.append(surface.scorer)
    task, probabilities = TASKS.index(surface.task), None
    is_ordered = ranker is not None and task in ranker.ordered_tasks
    if ranker is not None and len(candidates) and (is_ordered or surface.sponsored is not None):
        probabilities = ranker.predict(features, np.full(len(features), task, np.int64))
    if ranker is None or probabilities is None or not is_ordered:
        organic, predicted = _by_rank(batch, candidates, found), {}
    else:
        predicted = dict(zip(ranker.config.actions, probabilities.T, strict=True))
        organic = action_value(probabilities, surface.action_weights, ranker.config.actions)
        popularity = _RARE + batch.state.counts[candidates.items].astype(np.float32)
        organic = organic / popularity**surface.popularity_discount
    paid = bids = np.zeros(len(candidates), np.float32)
    if surface.sponsored is not None:
        bids = bids_of(batch.state.catalogue, surface.sponsored.bid, candidates.items)
        paid = organic
        if ranker is not None and probabilities is not None:
            action = {surface.sponsored.action: 1.0}
            paid = action_value(probabilities, action, ranker.config.actions)
    return Scores(round_scores(organic), _pins(batch, candidates), bids, bids * paid, predicted)


def _score_by_model(batch: Batch, candidates: Candidates) -> Scores:
    """By the model's own scores, on its own scale: no action weights, no popularity discount."""
    scores = batch.scores(batch.surface.scorer)[candidates.rows, candidates.items]
    nothing = np.zeros(len(candidates), np.float32)
    return Scores(round_scores(scores), _pins(batch, candidates), nothing, nothing, {})


def organic_lists(found: Mapping[str, list[ItemList]]) -> dict[str, list[ItemList]]:
    """What sources proposed for the user's sake."""
    return {name: lists for name, lists in found.items() if name != SOURCE}


def _pins(batch: Batch, candidates: Candidates) -> FloatArray:
    """What bears the typed title (or the one that was meant) comes first, in the search's order."""
    pins = np.zeros(len(candidates), np.float32)
    if not batch.surface.pin_exact_titles or batch.hits is None:
        return pins
    bounds = candidates.bounds(len(batch.hits))
    for row, found in enumerate(batch.hits):
        if not len(found):
            continue
        pinned = found.item_nums[found.fields["title_match"] >= CORRECTED]
        part = candidates.items[bounds[row] : bounds[row + 1]]
        places = bounds[row] + np.searchsorted(part, pinned)
        pins[places] = _PIN + np.arange(len(pinned), 0, -1)
    return pins


def _by_rank(
    batch: Batch, candidates: Candidates, found: Mapping[str, list[ItemList]]
) -> FloatArray:
    """Sums over the sources; what only its bid brought here has the rank that it would have had."""
    values = fuse_by_rank(candidates, organic_lists(found), len(batch.queries))
    bounds = candidates.bounds(len(batch.queries))
    for row, items in enumerate(found.get(SOURCE, ())):
        scores = np.sort(batch.scores("retriever")[row][batch.allowed[row]])
        ahead = len(scores) - np.searchsorted(scores, items.scores, side="right")
        part = candidates.items[bounds[row] : bounds[row + 1]]
        places = bounds[row] + np.searchsorted(part, items.item_nums)
        values[places] = np.maximum(values[places], 1.0 / (RANK_CONSTANT + 1.0 + ahead))
    return values
