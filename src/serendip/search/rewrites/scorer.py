"""How sure it is that another way to ask serves: a small model that was learned from the head.

It answers for texts that nobody has seen. What it learns from is made first: verified queries that
were put too narrowly, of which it is known what they were meant to find. The log then moves the
weights as far as its evidence goes: texts that few items answer, and what people chose after them.
A change is good where its first ten results have something that was meant, and no less of it than
those of the text itself. Its chance is the confidence; below a floor nothing is offered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray
from serendip.search.logistic import RankingRows, fit_ranking
from serendip.search.rewrites.candidates import FEATURES

STRENGTH = 1.0
"""Texts of evidence that the prior of a weight counts as: 0 before what was made, and what that
gave before the log."""


@dataclass(frozen=True, slots=True, eq=False)
class RewriteScorer:
    """A logistic model.

    Args:
        weights: (F + 1,) float64, the last one is the intercept.
        made: texts that were made for learning.
        logged: texts of the log that were learned from.
    """

    weights: NDArray[np.float64]
    made: int = 0
    logged: int = 0

    @classmethod
    def taught(cls, made: Sequence[RankingRows], logged: Sequence[RankingRows]) -> Self | None:
        """Learn from texts, each with one change or more; None where there are none.

        Args:
            made: per text that was made, its changes.
            logged: per text of the log.
        """
        weights = np.zeros(len(FEATURES) + 1)
        free = 1e-3
        for texts in (made, logged):
            if texts:
                pull = np.full(len(weights), STRENGTH)
                pull[-1] = free
                weights = fit_ranking(*_joined(texts), weights, pull)
                free = STRENGTH
        return cls(weights, len(made), len(logged)) if made or logged else None

    def confidences(self, features: FloatArray) -> NDArray[np.float64]:
        """(R,) chances that changes with features (R, F) serve."""
        values = features @ self.weights[:-1] + self.weights[-1]
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -30.0, 30.0))))

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        names = (*FEATURES, "intercept")
        weights = dict(zip(names, self.weights.tolist(), strict=True))
        return {"weights": weights, "made": self.made, "logged": self.logged}

    @classmethod
    def of_dict(cls, document: Mapping[str, Any]) -> Self:
        """What ``as_dict`` told.

        Raises:
            ValueError: it has other features than this code.
        """
        weights = document["weights"]
        if tuple(weights) != (*FEATURES, "intercept"):
            raise ValueError("the student has other features")
        values = np.array([float(value) for value in weights.values()])
        return cls(values, int(document["made"]), int(document["logged"]))


def _joined(texts: Sequence[RankingRows]) -> tuple[NDArray[np.float64], RankingRows]:
    """Rows of all texts, and inputs with a column of ones."""
    features = np.concatenate([text.features for text in texts])
    success = np.concatenate([text.success for text in texts])
    weights = np.concatenate([text.weights for text in texts])
    inputs = np.column_stack([features, np.ones(len(features))]).astype(np.float64)
    return inputs, RankingRows(features, success, weights)
