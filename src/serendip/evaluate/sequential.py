"""Comparisons of arms of an experiment that stay valid however often somebody looks.

The interval is an asymptotic confidence sequence: with a probability of 95 % it covers the truth at
all looks together (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central
limit theory and asymptotic confidence sequences", theorem 2.2). It is wider than that of one look,
least where ``BEST_USERS`` are compared, and an approximation like any normal interval: it begins
at ``FEWEST_USERS`` of an arm. The theorem is about values that no longer change, and those of users
grow while they come back: docs/results/experiments.md has the false positives of such users, too.

Values are adjusted by what the same users did before (Deng, Xu, Kohavi and Walker 2013, "Improving
the sensitivity of online controlled experiments by utilizing pre-experiment data", CUPED).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from serendip.evaluate.intervals import Estimate
from serendip.evaluate.runs import Values

BEST_USERS = 10_000
FEWEST_USERS = 100
_ERROR = 0.05


def half_width(variance: float, n: int, error: float = _ERROR) -> float:
    """Half of the width of the interval of a mean of n values, at any n."""
    squared = (-2 * math.log(error) + math.log(1 - 2 * math.log(error))) / BEST_USERS  # rho^2
    scaled = n * squared + 1
    return math.sqrt(
        variance * 2 * scaled / (n * n * squared) * math.log(math.sqrt(scaled) / error)
    )


def estimate_mean(values: Values, tests: int = 1) -> Estimate:
    """Estimate a mean of values (U,); the intervals of some tests hold together."""
    users = len(values)
    if users < FEWEST_USERS:
        return Estimate(float(values.mean()) if users else None, None, None, users)
    mean, reach = float(values.mean()), half_width(float(values.var()), users, _ERROR / tests)
    return Estimate(mean, mean - reach, mean + reach, users)


def compare_arms(control: Values, treatment: Values, tests: int = 1) -> Estimate:
    """Estimate how much the mean of an arm is above that of the control."""
    arms = control, treatment
    users = sum(map(len, arms))
    if min(map(len, arms)) < FEWEST_USERS:
        return Estimate(None, None, None, users)
    # Of the difference as the mean of one value per user, weighed by the share of their arm.
    variance = users * sum(float(arm.var()) / len(arm) for arm in arms)
    reach, value = (
        half_width(variance, users, _ERROR / tests),
        float(treatment.mean() - control.mean()),
    )
    return Estimate(value, value - reach, value + reach, users)


def adjust(values: Values, before: Values) -> Values:
    """Values (U,) of users of all arms, without what those before (U,) predict of them."""
    deviations = before - before.mean() if len(before) else before
    spread = float(deviations @ deviations)
    slope = float(deviations @ values) / spread if spread else 0.0
    return np.asarray(values - slope * deviations)


def sample_ratio_p(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Probability, by chi-square, of numbers of users at least as far from shares as these."""
    from scipy.special import chdtrc

    expected = sum(counts) * np.asarray(shares) / sum(shares)
    if not sum(counts):
        return 1.0
    distance = float(((np.asarray(counts) - expected) ** 2 / expected).sum())
    return float(chdtrc(len(counts) - 1, distance))
