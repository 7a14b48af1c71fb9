"""Orders suggested queries by the chance that one is clicked and leads to a choice.

A logistic model, point by point: a query's score never depends on the others. What it starts from
is a prior by popularity; learning moves the weights away from it as far as the evidence goes (the
most probable weights, with a normal prior around those), so that a shop without a log has a
sensible order and one with a long log its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray
from serendip.errors import ArtefactError
from serendip.search.logistic import RankingRows, most_probable
from serendip.search.query_features import FEATURES

RANKER_FILE = "query-ranker.json"

PRIOR: Mapping[str, float] = {
    "users": 1.0,
    "searches": 0.2,
    "popularity": 1.0,
    "taste": 0.5,
    "last": 0.5,
    "recent": 0.5,
    "history": 0.5,
    "own": 1.0,
    "at the start": 1.0,
    "typed share": 2.0,
    "is title": 3.0,
    "is phrase": -1.0,
}
"""By feature, where nothing was learned; 0 for the others."""

PRIOR_STRENGTH = 3.0
"""Requests of evidence that it takes to move a weight about half of the way."""
_SMALLEST_SPREAD = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class QueryRanker:
    """Weights by feature.

    Args:
        weights: (F,) float64.
        learned_from: number of requests; 0 = the prior.
    """

    weights: NDArray[np.float64]
    learned_from: int = 0

    @classmethod
    def prior(cls) -> QueryRanker:
        """What is sensible before anything was learned."""
        return cls(np.array([PRIOR.get(name, 0.0) for name in FEATURES]))

    @classmethod
    def trained(cls, rows: RankingRows, requests: int, strength: float) -> QueryRanker:
        """The most probable weights, by Newton's method.

        Args:
            rows: of all requests.
            requests: how many there are.
            strength: of the prior, see ``PRIOR_STRENGTH``.
        """
        start = cls.prior().weights
        if not requests:
            return cls(start)
        spread = np.maximum(rows.features.std(0).astype(float), _SMALLEST_SPREAD)
        used = rows.features.std(0) > _SMALLEST_SPREAD
        inputs = np.where(used, rows.features / spread, 0.0)
        inputs = np.column_stack([inputs, np.ones(len(inputs))])
        before = np.append(np.where(used, start * spread, 0.0), 0.0)
        pull = np.append(np.full(len(FEATURES), strength), 1e-6)
        found = most_probable(inputs, rows, before, pull)
        return cls(np.where(used, found[:-1] / spread, start), requests)

    def scores(self, features: FloatArray) -> FloatArray:
        """(R,) float32, higher is better."""
        found: FloatArray = (features @ self.weights).astype(np.float32)
        return found

    def save(self, folder: Path) -> None:
        """Write one file into a folder."""
        document = {
            "weights": dict(zip(FEATURES, self.weights.tolist(), strict=True)),
            "learned_from": self.learned_from,
        }
        (folder / RANKER_FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> QueryRanker:
        """Read what ``save`` wrote; features that came later count nothing.

        Raises:
            ArtefactError: the file is missing or has features that this code has not.
        """
        try:
            document = json.loads((folder / RANKER_FILE).read_text(encoding="utf-8"))
            weights, requests = document["weights"], int(document["learned_from"])
            if not set(weights) <= set(FEATURES):
                raise ValueError("it has other features")
            return cls(np.array([float(weights.get(name, 0.0)) for name in FEATURES]), requests)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(
                f"{folder / RANKER_FILE} is not readable: {error}.", "Run `serendip train`."
            ) from None
