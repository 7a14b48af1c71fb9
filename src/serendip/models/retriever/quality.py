"""Quality vector: query-independent item quality as extra dimensions of the retriever's index.

``score = u . z(i) + w . quality(i)``: quality is appended to item vectors and one constant weight
vector w to every request vector, so that retrieval itself prefers good items. The weights maximise
the mean quality of the top ten on held-out requests under a bound on the loss of nDCG@10, by
black-box search (CMA-ES: Hansen and Ostermeier, 2001). Trained with the network they would overfit
to popularity. They are used only if other held-out requests, those of search and of similar items
among them, lose nothing by them (``keeps_relevance``).

Source: Jha et al. 2023, "Unified Embedding Based Personalized Retrieval in Etsy Search",
arXiv:2306.04833, which uses Bayesian optimisation.

Shapes: R requests, N items, C candidates of a request, Q columns of quality.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.items.quality import UNKNOWN
from serendip.data.rows.late_rows import put_rows
from serendip.data.rows.row_array import dot_rows

_TOP = 10
_CANDIDATES = 300
"""Candidates per request in the search: no weights within the bound lift a lower item into the top
ten."""

_TRIALS = 240
"""Function evaluations of the search."""

_STEP, _MOST = 0.1, 1.0
"""Initial step of the search and largest weight, relative to the spread of the best scores: beyond
that, quality would replace relevance instead of choosing among relevant items."""


@dataclass(frozen=True, slots=True, eq=False)
class QualityVector:
    """Quality of the items and its weights.

    Args:
        values: (N, Q) float32 in [0, 1].
        weights: (Q,) float32 >= 0, in units of the score; zeros = no effect.
    """

    values: FloatArray
    weights: FloatArray

    @property
    def added(self) -> FloatArray:
        """Weighted quality (N,), added to the scores of the items."""
        added: FloatArray = dot_rows(self.weights[None], self.values)[0]
        return added

    def arrays(self) -> dict[str, FloatArray]:
        """Arrays to store, by name."""
        return {"quality": self.values, "quality_weights": self.weights}

    @classmethod
    def of_arrays(cls, stored: Mapping[str, FloatArray]) -> QualityVector:
        """Rebuild from ``arrays``."""
        return cls(stored["quality"], stored["quality_weights"])

    def with_new(self, item_nums: IntArray) -> QualityVector:
        """A copy with new items (M,), of unknown quality."""
        unknown = np.tile(UNKNOWN, (len(item_nums), 1))
        return replace(self, values=put_rows(self.values, item_nums, unknown))


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutRequests:
    """Held-out requests with scored candidates: the target and the best other items.

    Args:
        items: (R, C) int64 item numbers, the target first.
        scores: (R, C) float32, -inf for excluded items.
    """

    items: NDArray[np.int64]
    scores: FloatArray

    @classmethod
    def of(
        cls,
        scores: FloatArray,
        wanted: NDArray[np.int64],
        ranked: NDArray[np.int64] | None = None,
    ) -> HeldOutRequests:
        """Select the targets ``wanted`` (R,) and the best other items by scores (R, N).

        If only some items are scored, ``ranked`` are their numbers, and ``wanted`` are columns.
        """
        row, count = np.arange(len(wanted)), min(_CANDIDATES, scores.shape[1]) - 1
        others = scores.copy()  # (R, N)
        others[row, wanted] = -np.inf
        best = np.argpartition(-others, max(0, count - 1), axis=1)[:, :count]  # (R, C - 1)
        # With few allowed items the target is among the others, too: there its score is -inf.
        items = np.column_stack([wanted, best])  # (R, C)
        kept = np.column_stack([scores[row, wanted], np.take_along_axis(others, best, 1)])
        return cls(items if ranked is None else ranked[items], kept)

    @classmethod
    def joined(cls, parts: Sequence[HeldOutRequests]) -> HeldOutRequests:
        """Concatenate blocks of requests; none without any."""
        if not parts:
            return cls(np.empty((0, 1), np.int64), np.empty((0, 1), np.float32))
        items, scores = ([getattr(part, name) for part in parts] for name in ("items", "scores"))
        return cls(np.concatenate(items), np.concatenate(scores))

    @property
    def spread(self) -> float:
        """Mean over requests of the standard deviation of the scores of allowed candidates."""
        is_allowed = np.isfinite(self.scores)  # (R, C)
        count = np.maximum(is_allowed.sum(1, keepdims=True), 1)  # (R, 1)
        scores = np.where(is_allowed, self.scores, 0.0)
        gaps = np.where(is_allowed, scores - scores.sum(1, keepdims=True) / count, 0.0)
        return float(np.sqrt(np.square(gaps).sum(1, keepdims=True) / count).mean())

    def halves(self) -> tuple[HeldOutRequests, HeldOutRequests]:
        """The first half of the requests, and the rest."""
        half = len(self.items) // 2
        first, rest = slice(half), slice(half, None)
        return (
            HeldOutRequests(self.items[first], self.scores[first]),
            HeldOutRequests(self.items[rest], self.scores[rest]),
        )

    def relevance(self, added: FloatArray) -> float:
        """Mean nDCG@10 of the targets with ``added`` (N,) on all scores; ties count half a rank."""
        return float(self.gains(added).mean())

    def gains(self, added: FloatArray) -> NDArray[np.float64]:
        """(R,) nDCG@10 of each target, see ``relevance``."""
        scores = self.scores + added[self.items]  # (R, C)
        target = scores[:, :1]  # (R, 1)
        rank = (scores > target).sum(1) + ((scores == target).sum(1) - 1) / 2  # (R,) from 0
        return np.where((rank < _TOP) & np.isfinite(target[:, 0]), 1 / np.log2(rank + 2), 0.0)

    def quality(self, added: FloatArray, worth: FloatArray) -> float:
        """Mean worth (N,) of the top ten items, ranked with ``added`` (N,) on all scores."""
        scores = self.scores + added[self.items]  # (R, C)
        count = min(_TOP, scores.shape[1])
        top = np.argpartition(-scores, count - 1, axis=1)[:, :count]  # (R, 10)
        return float(worth[np.take_along_axis(self.items, top, 1)].mean())


def keeps_relevance(held: HeldOutRequests, added: FloatArray, most_loss: float) -> bool:
    """Whether requests lose nothing by ``added`` (N,) on all scores.

    That is: their nDCG@10 falls by at most a share ``most_loss``, and the 95 % interval of its
    change (normal, paired by request) does not lie below 0. Without requests nothing is lost.
    """
    if not len(held.items):
        return True
    before = held.gains(np.zeros_like(added))
    change = held.gains(added) - before  # (R,)
    error = float(change.std()) / np.sqrt(len(change))
    return bool(change.mean() >= -most_loss * before.mean() and change.mean() + 1.96 * error >= 0)


def find_weights(
    held: Sequence[HeldOutRequests], values: FloatArray, most_loss: float, seed: int
) -> FloatArray:
    """Search weights (Q,) >= 0 of highest mean quality within a bound on the loss of nDCG@10.

    Args:
        held: held-out requests, in blocks. A bound of 1 % needs thousands of them: a single request
            can be worth a few thousandths of nDCG@10.
        values: (N, Q) quality; the mean of the columns is maximised.
        most_loss: largest relative loss of nDCG@10, in [0, 1).
        seed: seed of the search.

    Returns:
        The weights; zeros if none better within the bound were found.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It warns without matplotlib, which only its plots need.
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
    """Objective of the search, and the best weights within the bound so far."""

    def __init__(self, held: HeldOutRequests, values: FloatArray, most_loss: float) -> None:
        self._held, self._values, self._most_loss = held, values, most_loss
        self._worth, self._spread = values.mean(1), held.spread
        zeros = np.zeros(len(values), np.float32)  # (N,)
        self.start = held.relevance(zeros)
        self.best = np.zeros(values.shape[1], np.float32)  # (Q,)
        self._most = held.quality(zeros, self._worth)

    def cost(self, point: Any) -> float:
        """Cost to minimise: minus the mean quality, or the excess loss beyond the bound.

        Points beyond the bound cost more than all within it (quality is in [0, 1]).
        """
        weights = (np.abs(point) * self._spread).astype(np.float32)
        added = self._values @ weights
        loss = 1.0 - self._held.relevance(added) / self.start
        quality = self._held.quality(added, self._worth)
        if loss > self._most_loss:
            return loss - self._most_loss
        if quality > self._most:
            self.best, self._most = weights, quality
        return -quality
