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
from serendip.data.item_quality import UNKNOWN

_TOP = 10
_CANDIDATES = 300
"""Items of a request that weights are tried on: what lies behind them comes into the first ten by
no weight that keeps the bound."""

_TRIALS = 240
_STEP, _MOST = 0.1, 1.0
"""First step of the search and the largest weight, relative to the spread of the best scores: with
more, quality would not help to choose among what is relevant but replace it."""


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
class HeldOutRequests:
    """Held-out requests as a retriever sees them: what came next and the best other items.

    Args:
        items: (R, C) int64 item numbers, what came next first.
        scores: (R, C) float32, -inf for what may not be answered.
    """

    items: NDArray[np.int64]
    scores: FloatArray

    @classmethod
    def of(cls, scores: FloatArray, wanted: NDArray[np.int64]) -> HeldOutRequests:
        """What came next (R,), and the best others of scores (R, N)."""
        line, count = np.arange(len(wanted)), min(_CANDIDATES, scores.shape[1]) - 1
        others = scores.copy()
        others[line, wanted] = -np.inf
        best = np.argpartition(-others, max(0, count - 1), axis=1)[:, :count]
        # Where little may be answered, what came next is among the rest, too: it counts once.
        items = np.column_stack([wanted, best])
        found = np.column_stack([scores[line, wanted], np.take_along_axis(others, best, 1)])
        return cls(items, found)

    @classmethod
    def joined(cls, parts: Sequence[HeldOutRequests]) -> HeldOutRequests:
        """Blocks as one set of requests."""
        items, scores = ([getattr(one, name) for one in parts] for name in ("items", "scores"))
        return cls(np.concatenate(items), np.concatenate(scores))

    @property
    def spread(self) -> float:
        """Mean over the requests of the standard deviation of what may be answered."""
        answered = np.isfinite(self.scores)
        count = np.maximum(answered.sum(1, keepdims=True), 1)
        scores = np.where(answered, self.scores, 0.0)
        gaps = np.where(answered, scores - scores.sum(1, keepdims=True) / count, 0.0)
        return float(np.sqrt(np.square(gaps).sum(1, keepdims=True) / count).mean())

    def relevance(self, added: FloatArray) -> float:
        """Mean nDCG@10 of what came next with something (N,) added to all scores; ties half."""
        scores = self.scores + added[self.items]
        own = scores[:, :1]
        place = (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2
        gains = np.where((place < _TOP) & np.isfinite(own[:, 0]), 1 / np.log2(place + 2), 0.0)
        return float(gains.mean())

    def quality(self, added: FloatArray, worth: FloatArray) -> float:
        """Mean worth (N,) of the ten first items."""
        scores = self.scores + added[self.items]
        count = min(_TOP, scores.shape[1])
        first = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        return float(worth[np.take_along_axis(self.items, first, 1)].mean())


def find_weights(
    held: Sequence[HeldOutRequests], values: FloatArray, most_loss: float, seed: int
) -> FloatArray:
    """(Q,) weights >= 0 with the highest mean quality that cost at most ``most_loss`` of nDCG@10.

    Args:
        held: requests that the scores did not learn from, in blocks. A bound of 1 % wants thousands
            of them: each one found is a few thousandths of nDCG@10.
        values: (N, Q) quality; what is raised is the mean of the columns.
        most_loss: relative, in [0, 1).
        seed: of the search.

    Returns:
        zeros where nothing better within the bound was found.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It misses matplotlib, which only its plots need.
        import cma

    trials = _Trials(HeldOutRequests.joined(held), values, most_loss)
    if trials.start > 0 and most_loss > 0:
        options = {
            "seed": seed + 1,
            "maxfevals": _TRIALS,
            "bounds": [-_MOST, _MOST],
            "verbose": -9,
        }
        cma.fmin2(trials.cost, np.zeros(values.shape[1]), _STEP, options)
    return trials.best


class _Trials:
    """What was tried, and the best of it that keeps the bound."""

    def __init__(self, held: HeldOutRequests, values: FloatArray, most_loss: float) -> None:
        self._held, self._values, self._most_loss = held, values, most_loss
        self._worth, self._spread = values.mean(1), held.spread
        nothing = np.zeros(len(values), np.float32)
        self.start = held.relevance(nothing)
        self.best = np.zeros(values.shape[1], np.float32)
        self._most = held.quality(nothing, self._worth)

    def cost(self, point: Any) -> float:
        """What breaks the bound is worse than all that keeps it, the more so the further."""
        weights = (np.abs(point) * self._spread).astype(np.float32)
        added = self._values @ weights
        loss = 1.0 - self._held.relevance(added) / self.start
        quality = self._held.quality(added, self._worth)
        if loss > self._most_loss:
            return loss - self._most_loss
        if quality > self._most:
            self.best, self._most = weights, quality
        return -quality
