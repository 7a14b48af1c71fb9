"""Gini@k of exposure: 0 = every item is shown equally often, near 1 = one item is always shown.

::

    G = sum over i of (2 r_i - N - 1) x_i / (N * sum of x)

x_i = times item i is shown within the first k, r_i = its place by x ascending (ties: mean place),
N = the *whole* eligible catalogue, never-shown items included.

Error: infinitesimal jackknife over users. G does not change when all x are scaled, so the
influence of user u is sum over the items shown to u of dG/dx_i, and se^2 = sum of its squares.
"""

from __future__ import annotations

import math

import numpy as np

from serendip.data.arrays import IntArray
from serendip.errors import DataError
from serendip.evaluate.metrics.base import ExposureMetric, shown_items
from serendip.evaluate.runs import Groups, Values


class Gini(ExposureMetric):
    """How unequally the catalogue is shown."""

    name = "Gini"

    def of_exposure(
        self, lists: IntArray, groups: Groups, catalogue_size: int
    ) -> tuple[float, float]:
        """(index in [0, 1], jackknife error); NaN where nothing is shown at all.

        Raises:
            DataError: more distinct items are shown than the catalogue has.
        """
        items, users = shown_items(lists, groups, self.k)
        if not len(items):
            return math.nan, math.nan
        distinct, place, counts = np.unique(items, return_inverse=True, return_counts=True)
        if len(distinct) > catalogue_size:
            raise DataError(f"{len(distinct)} items are shown of a catalogue of {catalogue_size}.")
        slopes = 2.0 * _mean_places(counts, catalogue_size) - catalogue_size - 1.0
        total = float(counts.sum())
        value = float(slopes @ counts) / (catalogue_size * total)
        gradient = (slopes / catalogue_size - value) / total
        influence = np.bincount(users, weights=gradient[place])
        return value, float((influence**2).sum()) ** 0.5


def _mean_places(counts: Groups, catalogue_size: int) -> Values:
    """1-based ascending places of ``counts`` among a catalogue whose other items have 0."""
    _, place, size = np.unique(counts, return_inverse=True, return_counts=True)
    last = np.cumsum(size) + (catalogue_size - len(counts))
    return np.asarray((last - (size - 1) / 2.0)[place], dtype=np.float64)
