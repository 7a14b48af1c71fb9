"""What candidates are worth: to the user, and to who pays for a place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.item_list import ItemList
from serendip.engine.batch import Batch, Candidates
from serendip.engine.sponsored import SOURCE, bids_of
from serendip.engine.surfaces import TASKS
from serendip.models.ranker import action_value
from serendip.search.fusion import RANK_CONSTANT
from serendip.search.understanding import CORRECTED

_PIN = 1_000.0
"""Score of exact titles; far above any sum of weighted probabilities."""

_ROUNDING = 4e-6
"""Scores of a list that differ by a smaller share of its largest one are equal but for rounding,
which depends on what is computed beside them."""

_RARE = 20.0
"""Interactions below which being rare is no merit: the discount of popularity starts here."""


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Numbers of R candidate rows.

    Args:
        organic: (R,) float32 worth to the user.
        pins: (R,) float32 score of what stands first whatever it is worth; 0 = not pinned.
        bids: (R,) float32 bids; all 0 where nothing can be bought.
        earned: (R,) float32 bid x P(action that is paid for).
    """

    organic: FloatArray
    pins: FloatArray
    bids: FloatArray
    earned: FloatArray


def values_of(
    batch: Batch,
    candidates: Candidates,
    features: FloatArray,
    found: Mapping[str, list[ItemList]],
) -> Values:
    """By the ranker; where it may not order the task, by reciprocal rank over the sources."""
    ranker, surface = batch.state.ranker, batch.surface
    if ranker is None or not len(candidates):
        organic = paid = _reciprocal_ranks(candidates, organic_lists(found), len(batch.queries))
    else:
        task, actions = TASKS.index(surface.task), ranker.config.actions
        probabilities = ranker.predict(features, np.full(len(features), task, np.int64))
        if task in ranker.ordered_tasks:
            organic = action_value(probabilities, surface.action_weights, actions)
            popularity = _RARE + batch.state.counts[candidates.items].astype(np.float32)
            organic = organic / popularity**surface.popularity_discount
        else:
            organic = _reciprocal_ranks(candidates, organic_lists(found), len(batch.queries))
        paid = organic
        if surface.sponsored is not None:
            paid = action_value(probabilities, {surface.sponsored.action: 1.0}, actions)
    bids = np.zeros(len(candidates), np.float32)
    if surface.sponsored is not None:
        bids = bids_of(batch.state.catalogue, surface.sponsored.bid, candidates.items)
    return Values(organic, _pins(batch, candidates), bids, bids * paid)


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


def _reciprocal_ranks(
    candidates: Candidates, found: Mapping[str, list[ItemList]], num_queries: int
) -> FloatArray:
    values = np.zeros(len(candidates))
    bounds = candidates.bounds(num_queries)
    for lists in found.values():
        for row, items in enumerate(lists):
            part = candidates.items[bounds[row] : bounds[row + 1]]
            places = bounds[row] + np.searchsorted(part, items.item_nums)
            values[places] += 1.0 / (RANK_CONSTANT + ranks(items.scores))
    return values.astype(np.float32)


def ranks(scores: FloatArray) -> FloatArray:
    """Ranks (C,) of scores that never rise, from 1; equal ones share the best of their ranks."""
    least = _ROUNDING * np.abs(scores).max(initial=0.0)
    falls = np.append(True, scores[:-1] - scores[1:] > least)[: len(scores)]
    found: FloatArray = np.maximum.accumulate(np.where(falls, np.arange(1.0, len(scores) + 1), 1.0))
    return found
