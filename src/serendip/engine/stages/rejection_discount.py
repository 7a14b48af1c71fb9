"""Rejection discount: what is alike to an item that the user rejected has less value to them.

The value of a candidate is lowered by a share of itself: ``rejection_discount`` times its likeness
to the nearest of the items that are not to be recommended to the user, by content. Likeness is 0
up to the mean cosine of two items of the catalogue, and grows with the square of what lies above
it, to 1 for equal content: so it means the same with any encoder, and what merely belongs to the
same wide genre is hardly touched.

Only users who rejected something pay for it: a product of their candidates with at most
``MOST_UNWANTED`` vectors.

Shapes: N items, R candidate rows, C of one query, S unwanted items of its user, D content size.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.engine.stages.batch import Batch, Candidates
from serendip.engine.state import EngineState

_PAIRS = 300
"""Random pairs of items whose cosines are averaged."""


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
    bounds = candidates.bounds(len(batch.queries))
    for query, (begin, end) in zip(batch.queries, pairwise(bounds), strict=True):
        unwanted = query.rejected.unwanted
        if not len(unwanted) or begin == end:
            continue
        usual = batch.state.derived.value("usual cosine", lambda: usual_cosine(batch.state))
        nearest = (content[candidates.items[begin:end]] @ content[unwanted].T).max(1)  # (C,)
        above = (nearest - usual) / max(1.0 - usual, 1e-6)
        likeness[begin:end] = np.clip(above, 0.0, 1.0) ** 2
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
