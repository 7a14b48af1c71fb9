"""Numerical primitives that content, models and search share; they live below all three."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray

Doubles = NDArray[np.float64]


def unit(vectors: NDArray[np.floating], shortest: float = 0.0) -> FloatArray:
    """Vectors (..., D) scaled to length 1, float32; a zero vector stays zero.

    Those shorter than ``shortest`` are divided by it, so that rounding residue is not blown up to a
    direction.
    """
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    lengths = np.where(lengths > shortest, lengths, shortest or 1.0)
    return np.asarray(vectors / lengths, dtype=np.float32)


def logistic(values: NDArray[np.floating], largest: float = 80.0) -> NDArray[np.floating]:
    """``1 / (1 + exp(-values))``, of values clipped to ``[-largest, largest]``."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -largest, largest))))


@dataclass(frozen=True, slots=True)
class NewtonSteps:
    """When Newton's method ends, and how far a step goes.

    Args:
        count: of steps, at most.
        tolerance: largest change of a weight in the last step.
        furthest: that a weight moves in one step.
        largest: log-odds are clipped to ``[-largest, largest]``.
    """

    count: int = 50
    tolerance: float = 1e-6
    furthest: float = math.inf
    largest: float = 80.0


def fit_logistic(
    inputs: Doubles,
    targets: NDArray[np.floating],
    start: Doubles,
    ridge: Doubles,
    *,
    prior: Doubles | float = 0.0,
    weights: NDArray[np.floating] | float = 1.0,
    damping: float = 0.0,
    steps: NewtonSteps = NewtonSteps(),
) -> Doubles:
    """Fit ridge logistic regression by Newton's method.

    Minimises ``sum(weights * cross entropy) + sum(ridge * (w - prior)^2) / 2``.

    Args:
        inputs: (R, F); an intercept is a column of ones.
        targets: (R,) in [0, 1].
        start: (F,) weights before the first step.
        ridge: (F,) how strongly each weight is drawn to ``prior``.
        prior: (F,) or one number.
        weights: (R,) of the rows, or one number.
        damping: added to the diagonal of the Hessian alone (Levenberg), which keeps it invertible
            and leaves the minimum where it is.
        steps: limits.

    Returns:
        (F,) weights.
    """

    def loss(at: Doubles) -> float:
        odds = np.clip(inputs @ at, -steps.largest, steps.largest)
        entropies = np.logaddexp(0.0, odds) - targets * odds
        return float((weights * entropies).sum() + (ridge * (at - prior) ** 2).sum() / 2)

    found, lowest = start.copy(), loss(start)
    diagonal = np.diag(ridge + damping)
    for _ in range(steps.count):
        chance = logistic(inputs @ found, steps.largest)
        gradient = inputs.T @ (weights * (chance - targets)) + ridge * (found - prior)  # (F,)
        hessian = (inputs * (weights * chance * (1 - chance))[:, None]).T @ inputs  # (F, F)
        step = np.linalg.solve(hessian + diagonal, gradient)
        if np.abs(step).max() < steps.tolerance:
            return found - step
        step *= min(1.0, steps.furthest / np.abs(step).max())
        while (lower := loss(found - step)) > lowest and np.abs(step).max() > steps.tolerance:
            step /= 2.0  # a whole step may lead too far, and then away for good
        found, lowest = found - step, lower
    return found
