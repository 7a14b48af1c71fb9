"""The quality vector: how good an item is, as further dimensions of the retriever's one index.

``score = u . z(i) + w . quality(i)``: quality is appended to item vectors and one constant weight
vector to every query, so the index that finds what is relevant also prefers what is good. The
weights are searched as a black box (CMA-ES: Hansen and Ostermeier, 2001) on held-out requests: the
highest mean quality of the first ten under a bound on how much nDCG@10 may fall. Learned with the
network they would overfit to what was popular. (Jha et al. 2023, "Unified Embedding Based
Personalized Retrieval in Etsy Search", arXiv:2306.04833; there by Bayesian optimisation.)

Shapes: R requests, N items, Q columns of quality.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray
from serendip.data.quality import UNKNOWN
from serendip.models.stopping_gain import ndcg_of_wanted

_TOP = 10
_ASKED, _SCORES = 1_500, 30_000_000
"""Requests and scores, at most, that weights are tried on, some hundred times."""

_TRIALS = 160
_STEP = 0.05
"""First step of the search, relative to the spread of the requests' scores."""


@dataclass(frozen=True, slots=True, eq=False)
class QualityVector:
    """Quality of the items, and what it counts.

    Args:
        values: (N, Q) float32 in [0, 1].
        weights: (Q,) float32 >= 0, in units of the score; zeros = as if there were none.
    """

    values: FloatArray
    weights: FloatArray

    @property
    def added(self) -> FloatArray:
        """(N,) what quality adds to the scores of the items."""
        return self.values @ self.weights

    def arrays(self) -> dict[str, FloatArray]:
        """What is stored, by name."""
        return {"quality": self.values, "quality_weights": self.weights}

    @classmethod
    def of_arrays(cls, stored: Mapping[str, FloatArray]) -> QualityVector:
        """What ``arrays`` gave."""
        return cls(stored["quality"], stored["quality_weights"])

    def extended(self, count: int) -> QualityVector:
        """With items that have just come after the known ones."""
        return replace(self, values=np.concatenate([self.values, np.tile(UNKNOWN, (count, 1))]))


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Held-out requests as a retriever sees them.

    Args:
        scores: (R, N) float32, -inf for what may not be answered.
        wanted: (R,) what came next.
    """

    scores: FloatArray
    wanted: NDArray[np.int64]

    def relevance(self, added: FloatArray) -> float:
        """Mean nDCG@10 of what came next with something (N,) added to all scores."""
        nothing = np.empty(0, np.int64)
        found = ndcg_of_wanted(self.scores + added, self.wanted, (nothing, nothing))
        return float(found.mean())

    def quality(self, added: FloatArray, worth: FloatArray) -> float:
        """Mean worth (N,) of the ten first items."""
        scores = self.scores + added
        count = min(_TOP, scores.shape[1])
        first = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        return float(worth[first].mean())


def find_weights(
    held: Sequence[Held], values: FloatArray, most_loss: float, seed: int
) -> FloatArray:
    """(Q,) weights >= 0 with the highest mean quality that cost at most ``most_loss`` of nDCG@10.

    Args:
        held: requests that the scores did not learn from, in blocks; up to 1,500 are used.
        values: (N, Q) quality; what is raised is the mean of the columns.
        most_loss: relative, in [0, 1).
        seed: of the search.

    Returns:
        zeros where nothing better within the bound was found.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It misses matplotlib, which only its plots need.
        import cma

    part = _some(held)
    worth = values.mean(1)
    start = part.relevance(np.zeros(len(values), np.float32))
    if start == 0 or most_loss == 0:
        return np.zeros(values.shape[1], np.float32)
    spread = float(np.std(part.scores[np.isfinite(part.scores)]))
    best = np.zeros(values.shape[1], np.float32)
    most = part.quality(values @ best, worth)

    def cost(point: Any) -> float:
        nonlocal best, most
        weights = (np.abs(point) * spread).astype(np.float32)
        added = values @ weights
        loss = 1.0 - part.relevance(added) / start
        quality = part.quality(added, worth)
        if loss <= most_loss and quality > most:
            best, most = weights, quality
        # What breaks the bound is worse than all that keeps it, the more so the further.
        return -quality if loss <= most_loss else loss - most_loss

    options = {"seed": seed + 1, "maxfevals": _TRIALS, "verbose": -9}
    cma.fmin2(cost, np.zeros(values.shape[1]), _STEP, options)
    return best


def _some(held: Sequence[Held]) -> Held:
    """The first requests of all."""
    scores = np.concatenate([one.scores for one in held])
    count = min(_ASKED, max(1, _SCORES // scores.shape[1]))
    return Held(scores[:count], np.concatenate([one.wanted for one in held])[:count])
