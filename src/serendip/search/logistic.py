"""Ridge logistic regression for what search learns: which suggestions and rewrites are taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import Artefact, FloatArray
from serendip.data.numeric import NewtonSteps, fit_logistic
from serendip.errors import ArtefactError

_STEPS = NewtonSteps(count=25, furthest=2.0, largest=30.0)
_SMALLEST_SPREAD, _FREE = 1e-3, 1e-3
_INTERCEPT = "intercept"


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


@dataclass(frozen=True, slots=True, eq=False)
class LogisticModel(Artefact):
    """Log odds that an offered query is taken, linear in its features.

    Args:
        names: of the F features.
        weights: (F + 1,) float64; the last one is the intercept.
        learned_from: number of requests that it learned from; 0 = none, as a prior.
    """

    names: tuple[str, ...]
    weights: NDArray[np.float64]
    learned_from: int = 0

    @classmethod
    def prior(cls, names: tuple[str, ...], weights: Mapping[str, float]) -> Self:
        """A model that has learned nothing; the weights of features that are not given are 0."""
        return cls(names, np.array([weights.get(name, 0.0) for name in (*names, _INTERCEPT)]))

    def fit(self, requests: Sequence[RankingRows], strength: float) -> Self:
        """The weights that maximise likelihood x prior, where the prior is normal around these.

        Its strength is in requests of evidence that move the weight of a standardised feature about
        half of the way. An intercept that was not learned yet is free.
        """
        if not requests:
            return self
        features = np.concatenate([request.features for request in requests])
        success = np.concatenate([request.success for request in requests])
        weights = np.concatenate([request.weights for request in requests])
        spread = np.append(features.std(0).astype(np.float64), 1.0)
        used = spread > _SMALLEST_SPREAD
        scale = np.where(used, spread, 1.0)
        inputs = np.column_stack([features, np.ones(len(features))]) * used / scale
        before = self.weights * used * scale
        pull = np.full(len(before), strength)
        pull[-1] = strength if self.learned_from else _FREE
        start, mean = before.copy(), float(np.average(success, weights=weights))
        start[-1] = np.log(max(mean, 1e-6) / max(1 - mean, 1e-6)) - float((inputs @ start).mean())
        fitted = fit_logistic(
            inputs, success, start, pull, prior=before, weights=weights, steps=_STEPS
        )
        learned = np.where(used, fitted / scale, self.weights)
        return type(self)(self.names, learned, self.learned_from + len(requests))

    def log_odds(self, features: FloatArray) -> FloatArray:
        """(R,) float32 of features (R, F); higher is better."""
        odds: FloatArray = (features @ self.weights[:-1] + self.weights[-1]).astype(np.float32)
        return odds

    def require_names(self, names: tuple[str, ...]) -> Self:
        """Check that it was learned from these features; returns it.

        Raises:
            ArtefactError: it was learned from others.
        """
        if self.names != names:
            other = ", ".join(sorted(set(self.names) ^ set(names))) or "their order"
            raise ArtefactError(f"an order was learned from other features: {other}.", self.repair)
        return self
