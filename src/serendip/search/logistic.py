"""Logistic of search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray

_STEPS = 25


@dataclass(frozen=True, slots=True, eq=False)
class RankingRows:
    """What was offered, and what came of it.

    Args:
        features: (R, F) float32.
        success: (R,) float32, 1 where the query was taken and led to a choice.
        weights: (R,) float32.
    """

    features: FloatArray
    success: FloatArray
    weights: FloatArray


def fit_logistic(
    inputs: NDArray[np.float64],
    rows: RankingRows,
    before: NDArray[np.float64],
    pull: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Weights (F + 1,) that maximise likelihood x prior; the last one is the intercept.

    Args:
        inputs: (R, F + 1), the last column 1.
        rows: what came of them.
        before: (F + 1,) where the prior is highest.
        pull: (F + 1,) how strongly it draws each weight there.
    """
    found = before.copy()
    mean = float(np.average(rows.success, weights=rows.weights))
    found[-1] = np.log(max(mean, 1e-6) / max(1 - mean, 1e-6)) - float((inputs @ found).mean())
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(inputs @ found, -30, 30)))
        slope = inputs.T @ (rows.weights * (chance - rows.success)) + pull * (found - before)
        bend = (inputs * (rows.weights * chance * (1 - chance))[:, None]).T @ inputs
        step = np.linalg.solve(bend + np.diag(pull), slope)
        found -= np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-6:
            break
    return found
