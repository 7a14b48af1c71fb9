"""How likely people are to look at a position of a list, so that clicks there can be weighed.

The position-based model: an item is chosen if its position is examined and the item is attractive,
P(chosen) = examined(position) x attractive(item). Both are estimated by expectation maximisation
from the logged requests of one surface (Chuklin, Markov and de Rijke 2015, "Click Models for Web
Search", section 4). Items that were shown at several positions tell the two apart; the prior keeps
the attractiveness of rarely shown items near the mean, and the examination of rarely filled
positions near that of all.

A choice at a position that is rarely examined says more than one at the top: its row weighs
1 / examined(position), the inverse propensity (Joachims, Swaminathan and Schnabel 2017, "Unbiased
Learning-to-Rank with Biased Feedback"), at most ``MOST_WEIGHT``.

Shapes: S shown items of all requests, K positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray, TimeArray
from serendip.data.events.search_log import LoggedRequest

MIN_SHOWN = 1_000
"""Shown items with a position from which on positions are weighed."""

MIN_CHOSEN = 100
"""Choices among them that are needed, too."""

MOST_POSITIONS = 20
"""Positions that are told apart; those further down count as the last of them."""

MOST_WEIGHT = 5.0
"""Largest weight: rarely examined positions have few choices, whose weights would be noise."""

_ROUNDS = 50
_PRIOR = 10.0
"""Shown items at the mean that are added to those of each item and of each position."""


def fit_examination(requests: Sequence[LoggedRequest]) -> FloatArray:
    """(K,) probability that a position is examined, relative to the likeliest.

    Ones if the requests, all of one surface, have too few positions.
    """
    parts = [_shown_of(request) for request in requests if len(request.positions)]
    if not parts:
        return np.ones(MOST_POSITIONS, np.float32)
    items, positions, chosen = (np.concatenate(part) for part in zip(*parts, strict=True))
    if len(items) < MIN_SHOWN or chosen.sum() < MIN_CHOSEN:
        return np.ones(MOST_POSITIONS, np.float32)
    examined = _maximise(items, positions, chosen)
    return np.asarray(examined / examined.max(), np.float32)


def position_weights(request: LoggedRequest, examined: FloatArray) -> FloatArray:
    """(C,) float32 weights of the chosen items of a request; 1 where the position is not known.

    Args:
        request: with C chosen items.
        examined: (K,) of its surface.
    """
    weights = np.ones(len(request.chosen), np.float32)
    if not len(request.positions):
        return weights
    positions = request.positions[np.searchsorted(request.shown, request.chosen)]
    known = positions >= 0
    places = np.minimum(positions[known], len(examined) - 1)
    weights[known] = np.minimum(1.0 / examined[places], MOST_WEIGHT)
    return weights


def _shown_of(request: LoggedRequest) -> tuple[IntArray, IntArray, BoolArray]:
    # Those whose position is known.
    known = request.positions >= 0
    items = request.shown[known]
    positions = np.minimum(request.positions[known], MOST_POSITIONS - 1)
    return items, positions, np.isin(items, request.chosen)


def _maximise(items: IntArray, positions: IntArray, chosen: BoolArray) -> TimeArray:
    """(K,) examination of the positions by expectation maximisation.

    Args:
        items: (S,) numbers of the shown items.
        positions: (S,) their positions, below K.
        chosen: (S,) whether they were chosen.
    """
    _, rows = np.unique(items, return_inverse=True)
    rows = rows.reshape(-1)
    shown_items = np.bincount(rows)
    shown_positions = np.bincount(positions, minlength=MOST_POSITIONS)
    attractive = np.full(len(shown_items), float(chosen.mean()))
    examined = np.ones(MOST_POSITIONS) * 0.5
    for _ in range(_ROUNDS):
        looked, liked = examined[positions], attractive[rows]  # (S,) each
        neither = np.maximum(1.0 - looked * liked, 1e-9)
        was_examined = np.where(chosen, 1.0, looked * (1.0 - liked) / neither)
        was_attractive = np.where(chosen, 1.0, liked * (1.0 - looked) / neither)
        attractive = _shrink(rows, was_attractive, shown_items)
        examined = _shrink(positions, was_examined, shown_positions)
    return examined


def _shrink(
    groups: NDArray[np.integer], values: TimeArray, sizes: NDArray[np.integer]
) -> TimeArray:
    """Mean of the values (S,) of each group, shrunk towards that of all."""
    sums = np.bincount(groups, values, len(sizes))
    means: TimeArray = (sums + _PRIOR * values.mean()) / (sizes + _PRIOR)
    return means
