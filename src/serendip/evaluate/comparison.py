"""Paired comparison of two systems, with a verdict by fixed rules.

The sampling unit is the user, differences are paired, intervals are those of ``intervals``. With d
the mean difference, (low, high) its 95 % interval, b the baseline's mean and MDE = (1.96 + 0.84) x
standard error, the minimum detectable effect at a power of 80 %:

====================  ==============================================================
too small to tell     fewer than 50 users; or 0 is in the interval and MDE > 10 % of b
better                low > 0 and d >= 1 % of b
worse                 high < 0 and d <= -1 % of b
no difference shown   everything else: an effect of 10 % would have been seen, or the
                      effect is real but below 1 %
====================  ==============================================================

Sign and rank tests are not used: with so many users they call equal systems different (Ihemelandu
and Ekstrand, SIGIR 2023).

Shapes: T requests, U users, S systems, M metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serendip.evaluate.intervals import (
    DIFFERENCE_RANGE,
    Z_95,
    Estimate,
    estimates,
)
from serendip.evaluate.runs import Values

MIN_USERS = 50
PRACTICAL_SHARE = 0.01
"""Smallest relative difference that is called better or worse."""

DETECTABLE_SHARE = 0.10
"""Relative difference that a comparison must be able to detect to show no difference."""

_Z_POWER_80 = 0.8416212335729143

BETTER = "better"
WORSE = "worse"
NO_DIFFERENCE = "no difference shown"
TOO_SMALL = "too small to tell"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paired difference, system minus baseline, with its verdict.

    Args:
        metric: label, e.g. ``nDCG@10``.
        difference: mean over users; None without users.
        verdict: better, worse, no difference shown, or too small to tell.
        minimum_detectable: difference that is detected with a power of 80 %.
    """

    system: str
    baseline: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    n: int
    verdict: str
    minimum_detectable: float | None


def estimate_systems(
    users: Mapping[str, Values], labels: Sequence[str], seed: int
) -> dict[str, dict[str, Estimate]]:
    """Estimate the metrics of several systems over the same users: system -> label -> estimate.

    ``users`` are system -> (U, M) means of each user, up to 1.
    """
    estimated = iter(estimates(np.concatenate(list(users.values()), axis=1), seed))
    return {name: {label: next(estimated) for label in labels} for name in users}


def compare_systems(
    users: Mapping[str, Values],
    labels: Sequence[str],
    systems: tuple[str, Sequence[str]],
    seed: int,
) -> list[Comparison]:
    """Compare a system with its baselines over the same users, by each metric with a label.

    ``users`` are system -> (U, M) means of each user, each in 0 .. 1; of the M metrics the first
    have labels.
    """
    subject, baselines = systems
    own, comparisons = users[subject], list[Comparison]()
    columns = [(name, column) for name in baselines for column in range(len(labels))]
    if not columns:
        return []
    differences = np.column_stack([own[:, at] - users[name][:, at] for name, at in columns])
    found = estimates(differences, seed, support=DIFFERENCE_RANGE)
    for (name, column), one in zip(columns, found, strict=True):
        mean = float(users[name][:, column].mean()) if len(own) else 0.0
        verdict, detectable = decide_verdict(one, mean)
        names = subject, name, labels[column]
        comparisons.append(
            Comparison(*names, one.value, one.low, one.high, one.n, verdict, detectable)
        )
    return comparisons


def compare_values(
    names: tuple[str, str, str], system: Values, baseline: Values, seed: int = 0
) -> Comparison:
    """Compare values per user (U,); ``names`` = (system, baseline, metric label)."""
    subject, other, label = names
    users = {subject: system[:, None], other: baseline[:, None]}
    return compare_systems(users, [label], (subject, [other]), seed)[0]


def decide_verdict(difference: Estimate, baseline_mean: float) -> tuple[str, float | None]:
    """Verdict and minimum detectable difference of a paired difference; see the table above."""
    if difference.value is None or difference.low is None or difference.high is None:
        return TOO_SMALL, None
    error = (difference.high - difference.low) / (2 * Z_95)  # standard error from the interval
    detectable = (Z_95 + _Z_POWER_80) * error
    practical = PRACTICAL_SHARE * baseline_mean
    if difference.n < MIN_USERS:
        return TOO_SMALL, detectable
    if difference.low > 0 and difference.value >= practical:
        return BETTER, detectable
    if difference.high < 0 and difference.value <= -practical:
        return WORSE, detectable
    if difference.low <= 0 <= difference.high and detectable > DETECTABLE_SHARE * baseline_mean:
        return TOO_SMALL, detectable
    return NO_DIFFERENCE, detectable
