"""Likeness of items by content: to those of a request, to those a user rejected, or likes.

**A surface of what is alike**, whoever chose it. Candidates stay if they are more like the source
items than random pairs of items are, by the model ``content``; at least the ``_FEWEST`` that are
most alike. They are ordered by likeness, from 0 for what the floor lets through to 1 for the most
alike candidate, plus a share of the value of what is chosen next, from 0 to 1 for the best
candidates, and a weight times the share of likes, so that of two that are as much alike the better
comes first. What hardly anybody chose, and is not new, is less alike: n people count (n + 1) / (n +
6). Without anything known of the source items, what is chosen next orders all candidates.

**Rejection discount**: what is alike to an item that the user rejected has less value to them.

The value of a candidate is lowered by a share of itself: ``rejection_discount`` times its likeness
to the nearest of the items that are not to be recommended to the user, by content. Likeness is 0 up
to the mean cosine of two items of the catalogue, and grows with the square of what lies above it,
to 1 for equal content: so it means the same with any encoder, and what merely belongs to the same
wide genre is hardly touched.

Only users who rejected something pay for it: a product of their candidates with at most
``MOST_UNWANTED`` vectors.

**Taste**: how alike items are to what a user likes, whether or not anybody has chosen them.

The ranker learned from items that people chose, and values one without a past too low. Content
knows all items alike: an item fits a taste as the mean of its largest likenesses to single items
that the user likes, since a mean over all of them would find what lies between several tastes. The
newest likes count, and where these are few the newest other choices.

Shapes: N items, R candidate rows, C of one query, S unwanted items of its user, T liked ones, D
content size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from serendip.data import NO_ITEMS, FloatArray, History, IntArray, Query
from serendip.engine.stages.batch import Batch, Candidates, round_scores
from serendip.engine.stages.surfaces import RETRIEVER, SurfaceConfig
from serendip.engine.state import EngineState
from serendip.models.content_similarity import ContentSimilarity

MODEL = ContentSimilarity.name

LIKENESS = "likeness"  # of the stage in explanations
CHOICE_SHARE = 0.3  # of the order that is the value of what is chosen next; the rest is likeness
# Weight, beside both, of the share of likes of an item, shrunk towards that of all.
QUALITY_WEIGHT = 0.25
_FEWEST = 10  # candidates that stay although they are no more like the source items than others
_FEW = 5.0  # choices that one needs beside the first to be half as alike as its content says
_FULL = 5  # the first candidates by value, which have the whole share of it


def is_by_likeness(surface: SurfaceConfig, state: EngineState) -> bool:
    """Whether a surface is ordered by likeness, and there is the model."""
    return surface.is_by_likeness and MODEL in state.models


def keep_alike(batch: Batch, candidates: Candidates, also: Sequence[IntArray] = ()) -> Candidates:
    """The candidates that are like the source items of their query.

    Those that more people rejected than chose stay only where there are not ``_FEWEST`` others.

    Items of ``also`` stay whatever they are, and those that a rule pins.
    """
    kept, floor = np.zeros(len(candidates), np.bool_), floor_of(batch.state)
    state = batch.state
    is_rejected = state.reception.are_rejected(candidates.items, state.counts)  # (R,)
    for part, likeness in _compare(batch, candidates):
        if np.count_nonzero(~is_rejected[part]) >= _FEWEST:
            likeness = np.where(is_rejected[part], -np.inf, likeness)
        least = -np.sort(-likeness)[:_FEWEST][-1]
        kept[part] = (likeness > floor) | (likeness >= least)
    pinned = map(batch.pinned, range(len(batch.queries)))
    kept |= np.isin(candidates.items, np.concatenate([*also, *pinned]))
    return Candidates(candidates.rows[kept], candidates.items[kept])


def order_by_likeness(batch: Batch, candidates: Candidates, values: FloatArray) -> FloatArray:
    """(R,) float32: likeness, what is chosen next by its values (R,), and what is liked."""
    state, items = batch.state, candidates.items
    ordered = QUALITY_WEIGHT * state.quality[items]  # (R,)
    counts = np.asarray(state.counts[items], np.float32)
    evidence = np.where(state.new_items.mask[items], 1.0, (counts + 1) / (counts + 1 + _FEW))
    for part, likeness in _compare(batch, candidates):
        alike = np.maximum(likeness - floor_of(state), 0.0) * evidence[part]
        chosen = values[part] - values[part].min()
        full = np.sort(chosen)[-_FULL:][0]
        ordered[part] += (1 - CHOICE_SHARE) * _to_share(alike, alike.max())
        ordered[part] += CHOICE_SHARE * _to_share(chosen, full)
    return ordered


def floor_of(state: EngineState) -> float:
    """Likeness that 95 % of random pairs of items do not reach."""
    model = state.models.get(MODEL)
    return model.floor if isinstance(model, ContentSimilarity) else 0.0


def _compare(batch: Batch, candidates: Candidates) -> Iterator[tuple[slice, FloatArray]]:
    likeness = batch.scores(MODEL).of_items(candidates.rows, candidates.items)
    for _, part in candidates.parts(len(batch.queries)):
        yield part, likeness[part]


def _to_share(values: FloatArray, full: np.floating) -> FloatArray:
    shares: FloatArray = np.minimum(values / max(float(full), 1e-12), 1.0)
    return shares


_PAIRS = 300  # random pairs of items whose cosines are averaged


def discount_rejected(batch: Batch, candidates: Candidates, values: FloatArray) -> FloatArray:
    """Values (R,) of candidate rows, lower for what is alike to rejected items.

    A negative value falls, too: a share of its size is taken away.
    """
    share = batch.surface.rejection_discount
    if not share:
        return values
    values = values - share_of_loss(batch.state, candidates.items) * np.abs(values)
    if not any(len(query.rejected.unwanted) for query in batch.queries):
        return values
    lowered = values - share * likeness_to_rejected(batch, candidates) * np.abs(values)
    return np.asarray(lowered, np.float32)


def share_of_loss(state: EngineState, items: IntArray) -> FloatArray:
    """(R,) float32 in [0, 1]: what items lose that more people rejected than chose; else 0."""
    rejections = np.maximum(state.reception.rejections[items], 1).astype(np.float32)
    is_panned = state.reception.rejections[items] > 0
    loss = np.maximum(1.0 - state.counts[items] / rejections, 0.0) * is_panned
    return np.asarray(loss, np.float32)


def likeness_to_rejected(batch: Batch, candidates: Candidates) -> FloatArray:
    """(R,) float32 in [0, 1]: 0 without rejections, 1 for the content of a rejected item."""
    likeness = np.zeros(len(candidates), np.float32)
    content = batch.state.features.content  # (N, D)
    for row, part in candidates.parts(len(batch.queries)):
        unwanted = batch.queries[row].rejected.unwanted
        if len(unwanted):
            usual = batch.state.derived.value("usual cosine", lambda: usual_cosine(batch.state))
            nearest = (content[candidates.items[part]] @ content[unwanted].T).max(1)  # (C,)
            above = (nearest - usual) / max(1.0 - usual, 1e-6)
            likeness[part] = np.clip(above, 0.0, 1.0) ** 2
    return likeness


def usual_cosine(state: EngineState) -> float:
    """Mean cosine of random pairs of different items; 0 with fewer than two."""
    if state.num_items < 2:
        return 0.0
    random = np.random.default_rng(0)
    first = random.integers(0, state.num_items, _PAIRS)
    second = (first + random.integers(1, state.num_items, _PAIRS)) % state.num_items
    content = state.features.content
    return float(np.einsum("pd,pd->p", content[first], content[second]).mean())


_LIKES = 100  # items of a history that others are compared with
_NEAREST = 3  # largest likenesses whose mean counts


def taste_scores(batch: Batch, row: int, items: IntArray) -> FloatArray:
    """How well items (C,) fit a query of a batch, by scores that do not rest on their past.

    Where the query has a text, or neither source items nor a history, these are the retriever's.
    """
    query = batch.queries[row]
    context = _find_context(query, batch.pasts[row])
    if not len(context) and RETRIEVER in batch.state.models:
        rows = np.full(len(items), row, np.int32)
        return round_scores(batch.scores(RETRIEVER).of_items(rows, items))
    votes = batch.state.models[MODEL].compute_votes(replace(query, source_items=context), items)
    if votes is None or not len(votes[0]):
        return np.zeros(len(items), np.float32)
    count = min(_NEAREST, len(votes[1]))
    nearest = np.partition(votes[1], -count, axis=0)[-count:]  # (3, C) of (T, C)
    return round_scores(np.sort(nearest, axis=0).mean(axis=0))


def _find_context(query: Query, past: History) -> IntArray:
    if query.text or len(query.source_items):
        return NO_ITEMS if query.text else query.source_items
    return past.item_nums[np.argsort(past.liked, kind="stable")[-_LIKES:]]  # newest likes last
