"""Novelty@k = mean over the first k items of their self-information -log2 p(i), in bits.

p(i) = (n_i + 1) / (sum of n + N) with n_i the interactions of item i in the train part; add-one
smoothing makes it finite for items without interactions. An empty list has novelty 0.
"""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import IntArray
from serendip.evaluate.metrics.base import ListMetric, mean_over_lists
from serendip.evaluate.runs import Values


class Novelty(ListMetric):
    """Mean self-information of the shown items."""

    name = "Novelty"

    def of_lists(self, lists: IntArray, weights: Values) -> Values:
        """Mean of ``weights`` (N,), from ``surprise``, over the first k of each list: (T,)."""
        return np.nan_to_num(mean_over_lists(lists, weights, self.k))


def surprise(popularity: IntArray) -> Values:
    """Self-information -log2 p(i) of items (N,) float64, from their train interactions (N,)."""
    counts = popularity.astype(np.float64) + 1.0
    return np.asarray(-np.log2(counts / counts.sum()))
