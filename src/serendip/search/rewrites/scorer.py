"""Rewrite scorer: logistic regression for P(rewrite helps), for queries outside the table.

It is trained on synthetic examples first: verified queries made too narrow, whose relevant items
are known. The log then updates the weights as far as its evidence goes: queries with few results,
and what people chose after them. A rewrite is a positive example if its first ten results contain a
relevant item, and no fewer of them than those of the query itself. The predicted probability is the
rewrite's confidence; below a threshold nothing is offered.
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
"""Strength of the normal prior of a weight, in queries of evidence. Its mean is 0 for the synthetic
examples, and the weights learned from these for the log."""


@dataclass(frozen=True, slots=True, eq=False)
class RewriteScorer:
    """A logistic regression model.

    Args:
        weights: (F + 1,) float64, the last one is the intercept.
        made: number of synthetic training queries.
        logged: number of training queries from the log.
    """

    weights: NDArray[np.float64]
    made: int = 0
    logged: int = 0

    @classmethod
    def train(cls, made: Sequence[RankingRows], logged: Sequence[RankingRows]) -> Self | None:
        """Train on queries with one candidate or more each; None without any.

        Args:
            made: candidates of each synthetic query.
            logged: candidates of each query of the log.
        """
        weights = np.zeros(len(FEATURES) + 1)
        free = 1e-3
        for texts in (made, logged):
            if texts:
                pull = np.full(len(weights), STRENGTH)
                pull[-1] = free
                rows = RankingRows.join(texts)
                inputs = np.column_stack([rows.features, np.ones(len(rows.features))])
                weights = fit_ranking(inputs.astype(np.float64), rows, weights, pull)
                free = STRENGTH
        return cls(weights, len(made), len(logged)) if made or logged else None

    def confidences(self, features: FloatArray) -> NDArray[np.float64]:
        """(R,) probabilities that candidates with features (R, F) help."""
        values = features @ self.weights[:-1] + self.weights[-1]
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -30.0, 30.0))))

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        names = (*FEATURES, "intercept")
        weights = dict(zip(names, self.weights.tolist(), strict=True))
        return {"weights": weights, "made": self.made, "logged": self.logged}

    @classmethod
    def of_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what ``as_dict`` returned.

        Raises:
            ValueError: it has other features than this code.
        """
        weights = document["weights"]
        if tuple(weights) != (*FEATURES, "intercept"):
            raise ValueError("the rewrite scorer has other features")
        values = np.array([float(value) for value in weights.values()])
        return cls(values, int(document["made"]), int(document["logged"]))
