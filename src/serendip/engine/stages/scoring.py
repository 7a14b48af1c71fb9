"""Gives each candidate its value to the user; bids and pins are added beside it.

The value is that of the model that the surface names, of the ranker, or of rank fusion. Rank fusion
needs no common scale of the sources' scores: the value of a candidate is the sum of 1 / (60 + rank)
over the sources that propose it. (Cormack, Clarke and Buettcher 2009, see ``search.searcher``;
here equal scores share a rank.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from serendip.data import Catalogue, FloatArray, IntArray, ItemList, Task, locate
from serendip.engine.feature_names import models_of_kind
from serendip.engine.stages.batch import Batch, Candidates, round_scores
from serendip.engine.stages.likeness import discount_rejected, is_by_likeness, order_by_likeness
from serendip.engine.stages.list_rules import bids_of
from serendip.engine.stages.rules import find_factors, weigh_places
from serendip.engine.stages.surfaces import LEARNED, RANKER, ItemValueConfig, SurfaceConfig
from serendip.engine.state import EngineState
from serendip.models.ranker.model import Ranker, action_value
from serendip.search.searcher import RANK_CONSTANT
from serendip.search.understanding import ALL_WORDS, CORRECTED, ONE_VALUE, TITLED, VALUES
from serendip.search.variants import UNTITLED


def ranks(scores: FloatArray) -> FloatArray:
    """Ranks (C,) of descending scores, from 1; equal scores share the mean of their ranks.

    The mean, not the best rank: an item that has all words of a query must stand out from the many
    items that have the same few words.
    """
    levels = round_scores(scores)
    falls = np.append(True, levels[1:] != levels[:-1])[: len(scores)]
    group = np.cumsum(falls) - 1
    sizes = np.bincount(group)
    means = np.cumsum(sizes) - (sizes - 1) / 2
    return np.asarray(means[group], np.float32)


def fuse_by_rank(
    candidates: Candidates, proposals: Mapping[str, list[ItemList]], num_queries: int
) -> FloatArray:
    """(R,) float32 sums of 1 / (60 + rank) of candidate rows.

    Proposals of a source have a list per query, best first; items that are no candidates are passed
    over.
    """
    values = np.zeros(len(candidates))
    bounds = candidates.bounds(num_queries)
    for lists in proposals.values():
        for row, items in enumerate(lists):
            part = candidates.items[bounds[row] : bounds[row + 1]]
            places, is_there = locate(part, items.item_nums)
            shares = 1.0 / (RANK_CONSTANT + ranks(items.scores))
            values[bounds[row] + places[is_there]] += shares[is_there]
    return values.astype(np.float32)


TITLES = 32.0  # level of titles, far above any sum of weighted probabilities or of ranks
_LEVELS = {VALUES: 24.0, TITLED: 20.0, ALL_WORDS: 16.0, ONE_VALUE: 8.0}  # by match; of others 0
# Part of a level in which its rows are in an order of their own, whatever their value.
_PLACES = 4.0
_RARE = 20.0  # interactions below which the popularity discount no longer grows


def discount_popular(values: FloatArray, counts: IntArray, power: float) -> FloatArray:
    """Values (R,) divided by (20 + interactions) to a power."""
    discounted: FloatArray = values / (_RARE + counts.astype(np.float32)) ** power
    return discounted


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Numbers of R candidate rows.

    Args:
        organic: (R,) float32 values to the user.
        pins: (R,) float32 levels of how well the text matches, before the value: a row is never
            behind one of a lower level. See ``order_levels``.
        bids: (R,) float32; all 0 on surfaces without sponsored positions.
        revenue: (R,) float32 expected revenue, bid x P(action that is paid for).
        probabilities: action -> (R,) float32 of the ranker; empty if it did not order the rows.
    """

    organic: FloatArray
    pins: FloatArray
    bids: FloatArray
    revenue: FloatArray
    probabilities: Mapping[str, FloatArray]


def score_organic(
    batch: Batch, candidates: Candidates, features: FloatArray
) -> tuple[FloatArray, Mapping[str, FloatArray]]:
    """Values (R,) of all rows, and the ranker's probabilities (R,) by action, if it orders them.

    The values are by the model that the surface names, on its own scale, else by the ranker, if it
    may order the task, else by the ranks in the sources.

    Args:
        batch: B queries; a model that the generation has not is in its ``degraded``.
        candidates: R rows.
        features: (R, F).
    """
    surface, state = batch.surface, batch.state
    if surface.scorer in state.models:
        scores = batch.scores(surface.scorer)
        return scores.of_items(candidates.rows, candidates.items), {}
    if surface.scorer != RANKER:
        batch.degraded.append(surface.scorer)
    ranker = state.ranker
    if ranker is None or not len(candidates) or not may_order(ranker, surface):
        lists = {**_informed_lists(batch), **order_complete(batch)}
        return fuse_by_rank(candidates, lists, len(batch.queries)), {}
    probabilities = predict_actions(ranker, surface.task, features)  # (R, A)
    values = weigh_actions(probabilities, ranker, surface, state, candidates.items)
    power = surface.popularity_discount
    power = ranker.discounts.get(surface.task, 0.0) if power == LEARNED else power
    values = discount_popular(values, state.counts[candidates.items], power)
    return values, dict(zip(ranker.config.actions, probabilities.T, strict=True))


def order_complete(batch: Batch) -> dict[str, list[ItemList]]:
    """Orders of the hits of each query that have all its words, which tell them from each other: by
    how good and popular they are, and by how much of the title the text is.
    """
    state, merits, titles = batch.state, [], []
    for hits in batch.hits or ():
        if hits.fields:
            hits = hits.split(hits.fields["match"] >= np.float32(ALL_WORDS))[0]
        numbers = hits.item_nums
        merit = state.quality[numbers] * np.log(np.e + state.counts[numbers])
        title = hits.fields.get("title_match", np.zeros(len(hits), np.float32))
        merits.append(ItemList.of_distinct(numbers, merit.astype(np.float32)).sorted())
        titles.append(ItemList.of_distinct(numbers, title).sorted())
    return {"merits": merits, "titles": titles} if merits else {}


def score_candidates(batch: Batch, candidates: Candidates, features: FloatArray) -> Scores:
    """Numbers of all rows; see ``score_organic``."""
    organic, probabilities = score_organic(batch, candidates, features)
    values = organic
    if is_by_likeness(batch.surface, batch.state):
        values = order_by_likeness(batch, candidates, values)
    values = weigh_values(batch, candidates, discount_rejected(batch, candidates, values))
    bids = revenue = np.zeros(len(candidates), np.float32)
    if batch.surface.sponsored is not None:
        bids = bids_of(batch.state.catalogue, batch.surface.sponsored.bid, candidates.items)
        revenue = bids * _predict_paid(batch, features, probabilities, organic)
    pins = order_levels(batch, candidates, bool(probabilities))
    return Scores(round_scores(values), pins, bids, revenue, probabilities)


def weigh_values(batch: Batch, candidates: Candidates, values: FloatArray) -> FloatArray:
    """Values (R,) as rules boost and bury rows; a negative one becomes smaller where boosted."""
    values = values.copy()
    for row, part in candidates.parts(len(batch.queries)):
        items = candidates.items[part]
        for factor, meant in find_factors(batch.queries[row], items, batch.state):
            sizes = np.where(values[part] < 0, 1 / factor, factor)
            values[part] *= np.where(meant, sizes, 1.0)
    return values


def _predict_paid(
    batch: Batch, features: FloatArray, known: Mapping[str, FloatArray], organic: FloatArray
) -> FloatArray:
    """(R,) P(action that is paid for), on a surface that sells places; the organic values if
    nothing predicts it.
    """
    ranker, sponsored = batch.state.ranker, batch.surface.sponsored
    if sponsored is None or ranker is None or not len(features):
        return organic
    if not known:
        probabilities = predict_actions(ranker, batch.surface.task, features)  # (R, A)
        known = dict(zip(ranker.config.actions, probabilities.T, strict=True))
    return known.get(sponsored.action, organic)


def may_order(ranker: Ranker, surface: SurfaceConfig) -> bool:
    """Whether the ranker may order a surface: it has learned its task, and an action of value."""
    is_learned = ranker.number_of(surface.task) in ranker.ordered_tasks
    return is_learned and not surface.action_weights.keys().isdisjoint(ranker.config.actions)


def predict_actions(ranker: Ranker, task: Task, features: FloatArray) -> FloatArray:
    """(R, A) probabilities of the ranker's actions."""
    return ranker.predict(features, np.full(len(features), ranker.number_of(task), np.int64))


def weigh_actions(
    probabilities: FloatArray,
    ranker: Ranker,
    surface: SurfaceConfig,
    state: EngineState,
    items: IntArray,
) -> FloatArray:
    """(R,) values to a surface of items (R,) with some action probabilities (R, A).

    That is the sum over actions of weight x P(action), and x the item's number for those that are
    worth it.
    """
    actions, weights, value = ranker.config.actions, surface.action_weights, surface.item_value
    if value is None:
        return action_value(probabilities, weights, actions)
    valued = {name: weights[name] for name in value.actions or weights if name in weights}
    others = {name: weight for name, weight in weights.items() if name not in valued}
    worth = values_of(value, state.catalogue, items)  # (R,)
    by_value = action_value(probabilities, valued, actions) * worth
    return np.asarray(by_value + action_value(probabilities, others, actions), np.float32)


def values_of(config: ItemValueConfig, catalogue: Catalogue, items: IntArray) -> FloatArray:
    """(R,) float32 numbers of items (R,); an item without it has the median of all that have one, 1
    if none has.
    """
    column = catalogue.column(config.attribute)
    found = column.numbers_of(items)
    usual = 1.0 if np.isnan(column.median) else column.median
    return np.where(np.isfinite(found), found, usual).astype(np.float32)


def _informed_lists(batch: Batch) -> dict[str, list[ItemList]]:
    # For requests without a text and a context those of models that need none: the order of the
    # others is chance.
    priors = models_of_kind(batch.state.models, "prior")
    tells = [bool(query.text) or query.has_context for query in batch.queries]
    return {
        name: [
            one if is_told or name in priors else ItemList()
            for one, is_told in zip(found, tells, strict=True)
        ]
        for name, found in batch.organic_proposals.items()
    }


def show_scores(pins: FloatArray, values: FloatArray) -> FloatArray:
    """(R,) scores that fall in the order of levels, and in a level in that of the values."""
    has_place = pins % _PLACES != 0
    return np.where(has_place, pins, pins + values)


def order_levels(batch: Batch, candidates: Candidates, is_ranked: bool) -> FloatArray:
    """(R,) levels of how well hits match the text; 0 for what is alike in meaning.

    Items without a title, and those that more people rejected than chose, are the last of their
    level.

    Titles have the order of the search in their level, and so have items with a value unless the
    ranker orders: that of how good and popular they are, where anybody has chosen one.
    """
    pins = np.zeros(len(candidates), np.float32)
    if not batch.surface.pin_exact_titles or batch.hits is None:
        return pins
    is_last = batch.state.reception.are_rejected(candidates.items, batch.state.counts)
    is_last |= batch.state.variants[candidates.items] == UNTITLED
    pins[is_last] = -_PLACES
    bounds = candidates.bounds(len(batch.hits))
    for row, hits in enumerate(batch.hits):
        if not len(hits):
            continue
        matches = hits.fields["match"]
        levels = np.zeros(len(hits), np.float32)
        for match, level in _LEVELS.items():
            levels[matches == np.float32(match)] = level
        is_title = matches >= np.float32(CORRECTED)
        levels[is_title] = TITLES
        quality = batch.state.quality[hits.item_nums]
        is_known = not is_ranked and bool((quality != quality[0]).any())
        has_place = is_title | (is_known & (levels == _LEVELS[VALUES]))
        place = np.arange(len(hits), 0, -1) * (_PLACES / (len(hits) + 1))  # (H,) in (0, 4)
        weighed = weigh_places(batch.queries[row], hits.item_nums, place / _PLACES, batch.state)
        levels[has_place] += (weighed * _PLACES)[has_place]
        part = candidates.items[bounds[row] : bounds[row + 1]]
        places = bounds[row] + np.searchsorted(part, hits.item_nums)
        pins[places] = np.where(levels < TITLES, levels + pins[places], levels)
    return pins
