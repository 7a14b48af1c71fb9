"""What candidates are worth by their ranks alone: where nothing has learned to order them.

Scores of several sources need no common scale; a candidate is worth the sum of 1 / (60 + rank) over
the sources that propose it. (Cormack, Clarke and Buettcher 2009, see ``search.fusion``; here equal
scores share a rank.)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.item_list import ItemList
from serendip.engine.batch import Candidates
from serendip.search.fusion import RANK_CONSTANT

_BITS = 14
"""Bits of a number that count in an order; the last ten of a float32 depend on what is computed
beside it."""


def steady(values: FloatArray) -> FloatArray:
    """Values (R,) without what differs by rounding: the same alone and in any batch."""
    mantissa, exponent = np.frexp(values)
    rounded = np.ldexp(np.round(mantissa * 2.0**_BITS), exponent - _BITS)
    return np.asarray(rounded, np.float32)


def ranks(scores: FloatArray) -> FloatArray:
    """Ranks (C,) of scores that never rise, from 1; equal ones share the mean of their ranks.

    The mean and not the best: what alone has all words must stand out from the many that have the
    same few of them.
    """
    levels = steady(scores)
    falls = np.append(True, levels[1:] != levels[:-1])[: len(scores)]
    group = np.cumsum(falls) - 1
    sizes = np.bincount(group)
    means = np.cumsum(sizes) - (sizes - 1) / 2
    return np.asarray(means[group], np.float32)


def rank_sums(
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
