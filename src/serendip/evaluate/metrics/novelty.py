"""Novelty@k = mean over the first k of -log2 p(i), in bits: how little known the shown items are.

p(i) = (n_i + 1) / (sum of n + N) with n_i the interactions of item i in the train part: add-one
smoothing keeps items without interactions finite. An empty list has novelty 0.
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
        """Mean of ``weights`` (N,), made by ``surprise``, over each list."""
        top = first_k(lists, self.k)
        shown = top != PADDING
        bits = np.where(shown, weights[np.where(shown, top, 0)], 0.0).sum(axis=1)
        return np.asarray(bits / np.maximum(shown.sum(axis=1), 1))


def surprise(popularity: IntArray) -> Values:
    """-log2 p(i) of every item, (N,) float64, from its interactions in the train part (N,)."""
    counts = popularity.astype(np.float64) + 1.0
    return np.asarray(-np.log2(counts / counts.sum()))
