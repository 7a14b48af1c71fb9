"""Logistic regression on features of one scale, by Newton's method; few weights from few labels.

Shapes: P pairs, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray
from serendip.models.relevance.model import logistic

_STEPS, _NEAR, _FURTHEST = 30, 1e-6, 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Logistic:
    """``offset + weights @ scaled``, with features scaled to mean 0 and spread 1, cut at 4.

    Args:
        means: (F,) and
        spreads: (F,) of the features that were learned from.
        weights: (F,).
        offset: what a pair has whose features are all at their means.
    """

    means: FloatArray
    spreads: FloatArray
    weights: FloatArray
    offset: float

    @classmethod
    def fit(cls, features: FloatArray, is_bad: BoolArray, reg: float) -> Self:
        """Learn from labels.

        Args:
            features: (P, F).
            is_bad: (P,) labels.
            reg: what squared weights cost, in pairs: the higher, the nearer to 0 they stay.
        """
        means, spreads = features.mean(0), features.std(0) + 1e-6
        scaled = np.clip((features - means) / spreads, -_FURTHEST, _FURTHEST)
        inputs = np.column_stack([scaled, np.ones(len(scaled))]).astype(np.float64)
        cost = np.full(inputs.shape[1], reg)
        cost[-1] = 1e-6
        weights = np.zeros(inputs.shape[1])
        for _ in range(_STEPS):
            chance = logistic(inputs @ weights)
            curve = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + np.diag(cost)
            step = np.linalg.solve(curve, inputs.T @ (chance - is_bad) + cost * weights)
            weights = weights - step
            if np.abs(step).max() < _NEAR:
                break
        return cls(means, spreads, weights[:-1].astype(np.float32), float(weights[-1]))

    def values(self, features: FloatArray) -> FloatArray:
        """(P,) log-odds that pairs with features (P, F) are bad."""
        scaled = np.clip((features - self.means) / self.spreads, -_FURTHEST, _FURTHEST)
        values: FloatArray = (scaled @ self.weights + self.offset).astype(np.float32)
        return values
