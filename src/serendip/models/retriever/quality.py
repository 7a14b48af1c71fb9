"""Quality vector: query-independent item quality as extra dimensions of the retriever's index.

``score = u . z(i) + w . quality(i)``: quality is appended to item vectors and one constant weight
vector w to every request vector, so that retrieval itself prefers good items. The weights maximise
the mean quality of the top ten on held-out requests under a bound on the loss of nDCG@10, column by
column on a grid. Trained with the network they would overfit to popularity. They are used only if
other held-out requests, those of search and of similar items among them, lose nothing by them
(``keeps_relevance``).

Source: Jha et al. 2023, "Unified Embedding Based Personalized Retrieval in Etsy Search",
arXiv:2306.04833, which uses Bayesian optimisation.

Shapes: R requests, N items, C candidates of a request, Q columns of quality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.artefact import Artefact
from serendip.data.items.quality import UNKNOWN
from serendip.data.rows.late_rows import put_rows
from serendip.data.rows.row_array import dot_rows
from serendip.models.early_stopping import compute_target_ndcg

_TOP, _CANDIDATES = 10, 300
"""Places that count, and candidates per request: no weights within the bound lift a lower item into
the top ten."""

_GRID = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Weights that are tried, relative to the spread of the scores: beyond that, quality would replace
relevance instead of choosing among relevant items."""

_ROUNDS = 2


@dataclass(frozen=True, slots=True, eq=False)
class QualityVector(Artefact):
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

    def with_new(self, item_nums: IntArray) -> QualityVector:
        """A copy with new items (M,), of unknown quality."""
        unknown = np.tile(UNKNOWN, (len(item_nums), 1))
        return replace(self, values=put_rows(self.values, item_nums, unknown))


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutRequests:
    """Held-out requests with scored candidates: the target and the best other items.

    Args:
        items: (R, C) item numbers, the target first.
        scores: (R, C) float32, -inf for excluded items.
    """

    items: NDArray[np.integer]
    scores: FloatArray

    @classmethod
    def of(
        cls, scores: FloatArray, wanted: NDArray[np.int64], ranked: NDArray[np.int64]
    ) -> HeldOutRequests:
        """Select the target and the best others by scores (R, P) of the ranked items (P,).

        ``wanted`` (R,) are the columns of the targets.
        """
        row, others = np.arange(len(wanted)), scores.copy()
        others[row, wanted] = -np.inf
        count = min(_CANDIDATES, scores.shape[1]) - 1
        best = np.argpartition(-others, max(0, count - 1), axis=1)[:, :count]  # (R, C - 1)
        # With few allowed items the target is among the others, too: there its score is -inf.
        kept = np.column_stack([scores[row, wanted], np.take_along_axis(others, best, 1)])
        return cls(ranked[np.column_stack([wanted, best])], kept)

    @classmethod
    def joined(cls, parts: Sequence[HeldOutRequests]) -> HeldOutRequests:
        """Concatenate blocks of requests; none without any."""
        nothing = cls(np.empty((0, 1), np.int64), np.empty((0, 1), np.float32))
        kept = parts or [nothing]
        items, scores = (np.concatenate([getattr(p, n) for p in kept]) for n in ("items", "scores"))
        return cls(items, scores)

    def halves(self) -> list[HeldOutRequests]:
        """The first half of the requests, and the rest."""
        half = len(self.items) // 2
        parts = slice(half), slice(half, None)
        return [HeldOutRequests(self.items[part], self.scores[part]) for part in parts]

    def gains(self, added: FloatArray) -> NDArray[np.float64]:
        """(R,) nDCG@10 of each target with ``added`` (N,) on all scores; ties count half a rank."""
        scores, target = self.scores + added[self.items], np.zeros(len(self.items), np.int64)
        gains = compute_target_ndcg(scores, target, (target[:0], target[:0]))
        return np.where(np.isfinite(self.scores[:, 0]), gains, 0.0)

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


def find_weights(held: HeldOutRequests, values: FloatArray, most_loss: float) -> FloatArray:
    """Search weights (Q,) >= 0 of highest mean quality within a bound on the loss of nDCG@10.

    A bound of 1 % needs thousands of held-out requests: a single one can be worth a few thousandths
    of nDCG@10. Quality is (N, Q); the mean of its columns is maximised. The weights are zeros if
    none better within the bound, ``most_loss`` in [0, 1), were found.
    """
    best, worth = np.zeros(values.shape[1], np.float32), values.mean(1)
    nothing = np.zeros(len(values), np.float32)
    start, most = held.gains(nothing).sum(), held.quality(nothing, worth)
    spread = held.scores[np.isfinite(held.scores)].std() if start else 0.0
    for column in [*range(len(best))] * _ROUNDS if start and most_loss else ():
        for weight in _GRID:
            tried = best.copy()
            tried[column] = weight * spread
            added = values @ tried
            found = held.quality(added, worth)
            if found > most and held.gains(added).sum() >= (1 - most_loss) * start:
                best, most = tried, found
    return best
