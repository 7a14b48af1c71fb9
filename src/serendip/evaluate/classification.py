"""Binary classification metrics of irrelevant pairs, with cluster-bootstrap intervals.

Irrelevant ("bad") is the positive class: a filter is measured by the irrelevant pairs that it
finds. Pairs of one query (or of one source) are correlated, so the bootstrap resamples such groups
and not pairs: 95 %, 1,000 draws, percentiles at tails widened for few groups (Hesterberg 2015).

Shapes: P pairs, B blocks of pairs with the same score, R rows of weights (bootstrap draws).
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
    """Predictions of a model for labelled pairs.

    Args:
        is_bad: (P,) labels.
        scores: (P,) finite, higher = less relevant.
        decided: (P,) pairs that the model would filter.
        units: (P,) int32 resampling unit of each pair, 0 .. U - 1.
    """

    is_bad: BoolArray
    scores: FloatArray
    decided: BoolArray
    units: IntArray

    def values(self) -> dict[str, float]:
        """Compute each of ``BINARY_LABELS`` over all pairs; 0 if undefined."""
        values = np.nan_to_num(self._values(np.ones((1, len(self.is_bad))))[0])  # (5,)
        return dict(zip(BINARY_LABELS, values.tolist(), strict=True))

    def estimates(self, seed: int = 0) -> dict[str, Estimate]:
        """Compute the values with intervals, from the draws in which they are defined.

        A value that is undefined in all draws has an interval of width 0.
        """
        count = int(self.units.max()) + 1  # U
        random = np.random.default_rng(seed)
        weights = np.stack(
            [
                np.bincount(random.integers(0, count, count), minlength=count)
                for _ in range(RESAMPLES)
            ]
        )
        # In 20 parts, which bounds memory.
        values = np.concatenate(
            [self._values(part[:, self.units].astype(float)) for part in np.split(weights, 20)]
        )  # (R, 5)
        estimates = []
        for column, value in zip(values.T, self.values().values(), strict=True):
            defined = column[np.isfinite(column)]
            low, high = np.quantile(defined, _tails(count)) if len(defined) else (value, value)
            estimates.append(
                Estimate(value, min(value, float(low)), max(value, float(high)), count)
            )
        return dict(zip(BINARY_LABELS, estimates, strict=True))

    def _values(self, weights: Values) -> Values:
        """Values (R, 5) for R rows of pair weights (R, P); NaN if undefined."""
        bad, good = weights * self.is_bad, weights * ~self.is_bad
        return np.column_stack([*self._ranked(bad, good), *self._decided(bad, good)])

    def _ranked(self, bad: Values, good: Values) -> tuple[Values, Values]:
        """AUROC and average precision (R,) each; pairs with equal scores are one step."""
        order = np.argsort(-self.scores, kind="stable")  # (P,)
        starts = np.flatnonzero(np.diff(self.scores[order], prepend=np.inf))  # (B,)
        true_positives = np.add.reduceat(bad[:, order], starts, axis=1)  # (R, B) per block
        false_positives = np.add.reduceat(good[:, order], starts, axis=1)
        all_true, all_false = true_positives.cumsum(1), false_positives.cumsum(1)  # (R, B)
        num_bad, num_good = all_true[:, -1], all_false[:, -1]  # (R,)
        # Good pairs with a lower score, those with an equal one counted half.
        below = num_good[:, None] - all_false + false_positives / 2
        pairs = num_bad * num_good
        area = _ratio((true_positives * below).sum(1), pairs)
        precision = np.nan_to_num(_ratio(all_true, all_true + all_false))
        return area, _ratio((true_positives * precision).sum(1), num_bad)

    def _decided(self, bad: Values, good: Values) -> tuple[Values, Values, Values]:
        """Precision, recall and Cohen's kappa (R,) each of the filtered pairs."""
        true_positives, false_positives = (part[:, self.decided].sum(1) for part in (bad, good))
        num_bad, num_good = bad.sum(1), good.sum(1)
        kappa = _kappas(true_positives, false_positives, num_bad, num_good)
        precision = _ratio(true_positives, true_positives + false_positives)
        return precision, _ratio(true_positives, num_bad), kappa


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
    """Divide elementwise; NaN where the denominator is 0."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _tails(count: int) -> tuple[float, float]:
    """Percentiles of the draws, as shares, at the ends of an interval of ``count`` units."""
    from scipy.special import ndtr, stdtrit

    if count == 1:
        return 0.0, 1.0
    reach = math.sqrt(count / (count - 1)) * float(stdtrit(count - 1, 1 - _TAIL))
    return float(ndtr(-reach)), float(ndtr(reach))
