"""Novelty@k = mean over the first k items of their self-information -log2 p(i), in bits.

p(i) = (n_i + 1) / (sum of n + N) with n_i the interactions of item i in the train part; add-one
smoothing makes it finite for items without interactions. An empty list has novelty 0.
"""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import IntArray
from serendip.evaluate.metrics.base import ListMetric, first_k
from serendip.evaluate.runs import PADDING, Values


class Novelty(ListMetric):
    """Mean self-information of the shown items."""

    name = "Novelty"

    def of_lists(self, lists: IntArray, weights: Values) -> Values:
        """Mean of ``weights`` (N,), from ``surprise``, over the first k of each list: (T,)."""
        top = first_k(lists, self.k)  # (T, k)
        is_item = top != PADDING
        bits = np.where(is_item, weights[np.where(is_item, top, 0)], 0.0).sum(axis=1)
        return np.asarray(bits / np.maximum(is_item.sum(axis=1), 1))


def surprise(popularity: IntArray) -> Values:
    """Self-information -log2 p(i) of items (N,) float64, from their train interactions (N,)."""
    counts = popularity.astype(np.float64) + 1.0
    return np.asarray(-np.log2(counts / counts.sum()))
