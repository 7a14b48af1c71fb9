"""Ridge logistic regression for what search learns: which suggestions and rewrites are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray
from serendip.data.numeric import NewtonSteps, fit_logistic

_STEPS = NewtonSteps(count=25, furthest=2.0, largest=30.0)


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

    @classmethod
    def join(cls, parts: Sequence[RankingRows]) -> RankingRows:
        """The rows of one or more parts."""
        names = ("features", "success", "weights")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def fit_ranking(
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
    start = before.copy()
    mean = float(np.average(rows.success, weights=rows.weights))
    start[-1] = np.log(max(mean, 1e-6) / max(1 - mean, 1e-6)) - float((inputs @ start).mean())
    return fit_logistic(
        inputs, rows.success, start, pull, prior=before, weights=rows.weights, steps=_STEPS
    )
