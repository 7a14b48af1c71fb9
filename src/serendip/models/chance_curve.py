"""From scores to chances: a logistic curve (Platt 1999)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray

_STEPS, _NEAR = 50, 1e-9


@dataclass(frozen=True, slots=True)
class ChanceCurve:
    """``1 / (1 + exp(-(slope x score + offset)))``."""

    slope: float
    offset: float

    def __call__(self, scores: FloatArray) -> FloatArray:
        """(P,) float32 chances of scores (P,)."""
        chances: FloatArray = logistic(self.slope * scores + self.offset).astype(np.float32)
        return chances


def logistic(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """The logistic function, of values that may be as large as they like."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -80.0, 80.0))))


def fitted_curve(scores: FloatArray, is_bad: BoolArray) -> ChanceCurve:
    """The curve that fits labels best, by Newton's method, with Platt's smoothed targets.

    Args:
        scores: (P,) of pairs that the scores were not learned from.
        is_bad: (P,) their labels; of one kind alone all chances are near to it.
    """
    bad, good = int(is_bad.sum()), int((~is_bad).sum())
    target = np.where(is_bad, (bad + 1) / (bad + 2), 1 / (good + 2))
    scale = float(np.std(scores)) or 1.0
    inputs = np.column_stack([scores / scale, np.ones(len(scores))])
    weights = np.zeros(2)
    for _ in range(_STEPS):
        chance = logistic(inputs @ weights)
        curve = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + 1e-6 * np.eye(2)
        step = np.linalg.solve(curve, inputs.T @ (chance - target))
        weights = weights - step
        if np.abs(step).max() < _NEAR:
            break
    return ChanceCurve(float(weights[0]) / scale, float(weights[1]))
