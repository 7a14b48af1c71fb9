"""Binary classification metrics of irrelevant pairs, with cluster-bootstrap intervals.

Irrelevant ("bad") is the positive class: a filter is measured by the irrelevant pairs that it
finds. Pairs of one query (or of one source) are correlated, so the bootstrap resamples such groups
and not pairs: 95 %, 1,000 draws, percentiles at tails widened for few groups (Hesterberg 2015).

Shapes: P pairs, B blocks of pairs with the same score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.evaluate.intervals import Estimate
from serendip.evaluate.runs import Values

BINARY_LABELS = ("auroc", "pr_auc", "precision", "recall", "kappa")
RESAMPLES = 1_000
ECE_BINS = 15
_TAIL = 0.025


@dataclass(frozen=True, slots=True, eq=False)
class BinaryPredictions:
    """What a model says of judged pairs.

    Args:
        is_bad: (P,) what people say.
        scores: (P,) finite, higher = worse.
        decided: (P,) what the model would filter.
        units: (P,) int32 what intervals draw, 0 .. U - 1.
    """

    is_bad: BoolArray
    scores: FloatArray
    decided: BoolArray
    units: IntArray

    def values(self) -> dict[str, float]:
        """Each of ``BINARY_LABELS`` over all pairs; 0 where it is not defined."""
        found = np.nan_to_num(self._values(np.ones((1, len(self.is_bad))))[0])
        return dict(zip(BINARY_LABELS, found.tolist(), strict=True))

    def estimates(self, seed: int = 0) -> dict[str, Estimate]:
        """The values with intervals, of the draws in which they are defined; else of no width."""
        count = int(self.units.max()) + 1
        random = np.random.default_rng(seed)
        drawn = np.stack(
            [
                np.bincount(random.integers(0, count, count), minlength=count)
                for _ in range(RESAMPLES)
            ]
        )
        found = np.concatenate(
            [self._values(part[:, self.units].astype(float)) for part in np.split(drawn, 20)]
        )
        ends = []
        for column, value in zip(found.T, self.values().values(), strict=True):
            defined = column[np.isfinite(column)]
            low, high = np.quantile(defined, _tails(count)) if len(defined) else (value, value)
            ends.append(Estimate(value, min(value, float(low)), max(value, float(high)), count))
        return dict(zip(BINARY_LABELS, ends, strict=True))

    def _values(self, weights: Values) -> Values:
        """(R, 5) for R rows of weights (R, P); NaN where a value is not defined."""
        bad, good = weights * self.is_bad, weights * ~self.is_bad
        return np.column_stack([*self._ranked(bad, good), *self._decided(bad, good)])

    def _ranked(self, bad: Values, good: Values) -> tuple[Values, Values]:
        """(R,) areas under both curves; equal scores are one step of them."""
        order = np.argsort(-self.scores, kind="stable")
        starts = np.flatnonzero(np.diff(self.scores[order], prepend=np.inf))
        found = np.add.reduceat(bad[:, order], starts, axis=1)
        wrong = np.add.reduceat(good[:, order], starts, axis=1)
        all_found, all_wrong = found.cumsum(1), wrong.cumsum(1)
        num_bad, num_good = all_found[:, -1], all_wrong[:, -1]
        below = num_good[:, None] - all_wrong + wrong / 2
        pairs = num_bad * num_good
        area = _ratio((found * below).sum(1), pairs)
        precision = np.nan_to_num(_ratio(all_found, all_found + all_wrong))
        return area, _ratio((found * precision).sum(1), num_bad)

    def _decided(self, bad: Values, good: Values) -> tuple[Values, Values, Values]:
        """(R,) precision, recall and Cohen's kappa of what is filtered."""
        hit, false = (part[:, self.decided].sum(1) for part in (bad, good))
        num_bad, num_good = bad.sum(1), good.sum(1)
        kappa = _kappas(hit, false, num_bad, num_good)
        return _ratio(hit, hit + false), _ratio(hit, num_bad), kappa


def calibration_error(is_bad: BoolArray, probabilities: FloatArray) -> float:
    """Expected calibration error of probabilities (P,), in 15 bins of equal size."""
    order = np.argsort(probabilities, kind="stable")
    parts = np.array_split(order, min(ECE_BINS, len(order)))
    away = [abs(probabilities[part].mean() - is_bad[part].mean()) * len(part) for part in parts]
    return float(sum(away) / len(order))


def calibration_floor(probabilities: FloatArray, seed: int = 0, draws: int = 200) -> float:
    """Mean calibration error of probabilities (P,) if each of them were exactly right."""
    random = np.random.default_rng(seed)
    seen = [
        calibration_error(random.random(len(probabilities)) < probabilities, probabilities)
        for _ in range(draws)
    ]
    return float(np.mean(seen))


def best_threshold(is_bad: BoolArray, scores: FloatArray) -> float:
    """The threshold of the scores that agrees best with people (Cohen's kappa).

    Of equally good ones the highest, which filters nothing if no threshold beats chance. Choose it
    on pairs that are not used for evaluation.
    """
    thresholds = np.unique(np.quantile(scores, np.linspace(0, 1, 201)))
    kappas = [kappa_of(is_bad, scores >= threshold) for threshold in thresholds]
    best = max(kappas)
    if best <= 0:
        return float(np.nextafter(np.float32(thresholds[-1]), np.float32(np.inf)))
    return float(
        max(threshold for threshold, kappa in zip(thresholds, kappas, strict=True) if kappa == best)
    )


def kappa_of(is_bad: BoolArray, decided: BoolArray) -> float:
    """Cohen's kappa of labels and decisions (P,); 0 where it is not defined."""
    pairs = (is_bad & decided, ~is_bad & decided, is_bad, ~is_bad)
    hit, false, num_bad, num_good = (np.array([pair.sum()], float) for pair in pairs)
    return float(np.nan_to_num(_kappas(hit, false, num_bad, num_good))[0])


def _kappas(hit: Values, false: Values, num_bad: Values, num_good: Values) -> Values:
    """Cohen's kappa (R,), of the bad and the good pairs that are filtered and of all of both."""
    total, filtered = num_bad + num_good, hit + false
    agreed = _ratio(hit + num_good - false, total)
    chance = _ratio(filtered * num_bad + (total - filtered) * num_good, total**2)
    return _ratio(agreed - chance, 1 - chance)


def _ratio(above: Values, below: Values) -> Values:
    """Elementwise; NaN where nothing is below the line."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _tails(count: int) -> tuple[float, float]:
    """The shares of the draws at which an interval of ``count`` units is read."""
    from scipy.special import ndtr, stdtrit

    if count == 1:
        return 0.0, 1.0
    reach = math.sqrt(count / (count - 1)) * float(stdtrit(count - 1, 1 - _TAIL))
    return float(ndtr(-reach)), float(ndtr(reach))
