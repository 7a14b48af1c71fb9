"""Binary classification metrics of irrelevant pairs, with cluster-bootstrap intervals.

Irrelevant is the positive class: a filter is measured by the irrelevant pairs that it detects.
Pairs of one query (or of one source) are correlated, so the bootstrap resamples such groups and not
pairs: 95 %, 1,000 draws, percentiles at tails widened for few groups (Hesterberg 2015).

Shapes: P pairs, G groups, B blocks of pairs with the same score, R rows of weights (draws).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.evaluate.intervals import Estimate
from serendip.evaluate.runs import Values

BINARY_METRICS = ("auroc", "pr_auc", "precision", "recall", "kappa")
RESAMPLES = 1_000
ECE_BINS = 15
_TAIL = 0.025
_PERFECT_DRAWS = 200


@dataclass(frozen=True, slots=True, eq=False)
class BinaryPredictions:
    """Predictions of a model for labelled pairs.

    Args:
        is_irrelevant: (P,) labels by people.
        scores: (P,) finite, higher = more likely irrelevant.
        is_filtered: (P,) pairs that the model would filter.
        groups: (P,) int32 number of the pair's group, 0 .. G - 1.
    """

    is_irrelevant: BoolArray
    scores: FloatArray
    is_filtered: BoolArray
    groups: IntArray

    def values(self) -> dict[str, float]:
        """``BINARY_METRICS`` over all pairs; 0 where a metric is not defined."""
        metrics = np.nan_to_num(self._values(np.ones((1, len(self.is_irrelevant))))[0])
        return dict(zip(BINARY_METRICS, metrics.tolist(), strict=True))

    def estimates(self, seed: int = 0) -> dict[str, Estimate]:
        """The values with intervals over the draws in which they are defined.

        A metric that no draw defines gets an interval of width 0.
        """
        count = int(self.groups.max()) + 1
        random = np.random.default_rng(seed)
        draws = np.stack(  # (R, G) how often each group is drawn
            [
                np.bincount(random.integers(0, count, count), minlength=count)
                for _ in range(RESAMPLES)
            ]
        )
        samples = np.concatenate(  # (R, 5)
            [self._values(part[:, self.groups].astype(float)) for part in np.split(draws, 20)]
        )
        intervals = []
        for column, value in zip(samples.T, self.values().values(), strict=True):
            defined = column[np.isfinite(column)]
            low, high = np.quantile(defined, _tails(count)) if len(defined) else (value, value)
            intervals.append(
                Estimate(value, min(value, float(low)), max(value, float(high)), count)
            )
        return dict(zip(BINARY_METRICS, intervals, strict=True))

    def _values(self, weights: Values) -> Values:
        """(R, 5) metrics for weights (R, P) of the pairs; NaN where a metric is not defined."""
        positive, negative = weights * self.is_irrelevant, weights * ~self.is_irrelevant
        return np.column_stack(
            [*self._areas(positive, negative), *self._filter_metrics(positive, negative)]
        )

    def _areas(self, positive: Values, negative: Values) -> tuple[Values, Values]:
        """(R,) AUROC and PR-AUC; equal scores are one step of the curves."""
        order = np.argsort(-self.scores, kind="stable")
        starts = np.flatnonzero(np.diff(self.scores[order], prepend=np.inf))
        true = np.add.reduceat(positive[:, order], starts, axis=1)  # (R, B)
        false = np.add.reduceat(negative[:, order], starts, axis=1)
        all_true, all_false = true.cumsum(1), false.cumsum(1)
        num_positive, num_negative = all_true[:, -1], all_false[:, -1]
        below = num_negative[:, None] - all_false + false / 2
        pairs = num_positive * num_negative
        area = _ratio((true * below).sum(1), pairs)
        precision = np.nan_to_num(_ratio(all_true, all_true + all_false))
        return area, _ratio((true * precision).sum(1), num_positive)

    def _filter_metrics(self, positive: Values, negative: Values) -> tuple[Values, Values, Values]:
        """(R,) precision, recall and Cohen's kappa of the filtered pairs."""
        true, false = (part[:, self.is_filtered].sum(1) for part in (positive, negative))
        num_positive, num_negative = positive.sum(1), negative.sum(1)
        kappa = _kappas(true, false, num_positive, num_negative)
        return _ratio(true, true + false), _ratio(true, num_positive), kappa


def calibration_error(is_irrelevant: BoolArray, probabilities: FloatArray) -> float:
    """Expected calibration error of probabilities (P,), in 15 bins of equal size."""
    order = np.argsort(probabilities, kind="stable")
    bins = np.array_split(order, min(ECE_BINS, len(order)))
    errors = [
        abs(probabilities[rows].mean() - is_irrelevant[rows].mean()) * len(rows) for rows in bins
    ]
    return float(sum(errors) / len(order))


def calibration_floor(probabilities: FloatArray, seed: int = 0) -> float:
    """Mean calibration error of probabilities (P,) if each of them were exactly right."""
    random = np.random.default_rng(seed)
    errors = [
        calibration_error(random.random(len(probabilities)) < probabilities, probabilities)
        for _ in range(_PERFECT_DRAWS)
    ]
    return float(np.mean(errors))


def cohen_kappa(is_irrelevant: BoolArray, is_filtered: BoolArray) -> float:
    """Cohen's kappa of labels and decisions (P,); 0 where it is not defined."""
    masks = (
        is_irrelevant & is_filtered,
        ~is_irrelevant & is_filtered,
        is_irrelevant,
        ~is_irrelevant,
    )
    true, false, num_positive, num_negative = (np.array([mask.sum()], float) for mask in masks)
    return float(np.nan_to_num(_kappas(true, false, num_positive, num_negative))[0])


def _kappas(true: Values, false: Values, num_positive: Values, num_negative: Values) -> Values:
    """(R,) Cohen's kappa, from filtered irrelevant and relevant pairs and the totals of both."""
    total, filtered = num_positive + num_negative, true + false
    agreement = _ratio(true + num_negative - false, total)
    by_chance = _ratio(filtered * num_positive + (total - filtered) * num_negative, total**2)
    return _ratio(agreement - by_chance, 1 - by_chance)


def _ratio(numerator: Values, denominator: Values) -> Values:
    """Elementwise; NaN where the denominator is 0."""
    return np.divide(
        numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0
    )


def _tails(count: int) -> tuple[float, float]:
    """Percentiles of the draws at which the interval of a number of groups is read."""
    from scipy.special import ndtr, stdtrit

    if count == 1:
        return 0.0, 1.0
    reach = math.sqrt(count / (count - 1)) * float(stdtrit(count - 1, 1 - _TAIL))
    return float(ndtr(-reach)), float(ndtr(reach))
