"""Gini@k of exposure: 0 = every item is shown equally often, near 1 = one item is always shown.

::

    G = sum over i of (2 r_i - N - 1) x_i / (N * sum of x)

x_i = times that item i is shown among the first k, r_i = its rank by x ascending (ties: mean rank),
N = the *whole* eligible catalogue, including items that are never shown.

Standard error: infinitesimal jackknife over users. G does not change if all x are scaled, so the
influence of user u is the sum of dG/dx_i over the items shown to u, and se^2 the sum of squares.

Shapes: D distinct items shown, U users, V impressions.
"""

from __future__ import annotations

import math

import numpy as np

from serendip.data.arrays import IntArray
from serendip.evaluate.metrics.base import ExposureMetric, require_catalogue, shown_items
from serendip.evaluate.runs import Groups, Values


class Gini(ExposureMetric):
    """Gini index of exposure: inequality of the impressions of items."""

    name = "Gini"

    def of_exposure(
        self, lists: IntArray, groups: Groups, catalogue_size: int
    ) -> tuple[float, float]:
        """Compute the index, in [0, 1], and its jackknife error; NaN if nothing is shown.

        Raises:
            DataError: more distinct items are shown than the catalogue has.
        """
        items, users = shown_items(lists, groups, self.k)
        if not len(items):
            return math.nan, math.nan
        distinct, index, counts = np.unique(items, return_inverse=True, return_counts=True)
        require_catalogue(len(distinct), catalogue_size)
        slopes = 2.0 * _mean_ranks(counts, catalogue_size) - catalogue_size - 1.0  # (D,)
        total = float(counts.sum())
        value = float(slopes @ counts) / (catalogue_size * total)
        gradient = (slopes / catalogue_size - value) / total  # dG/dx_i (D,)
        influence = np.bincount(users, weights=gradient[index])  # (U,)
        return value, float((influence**2).sum()) ** 0.5


def _mean_ranks(counts: Groups, catalogue_size: int) -> Values:
    """1-based ascending ranks (D,) of counts (D,) in a catalogue whose other items have 0."""
    _, index, size = np.unique(counts, return_inverse=True, return_counts=True)
    last = np.cumsum(size) + (catalogue_size - len(counts))  # rank of the last of each tie
    return np.asarray((last - (size - 1) / 2.0)[index], dtype=np.float64)
