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

Shapes: U users.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from serendip.errors import ConfigError
from serendip.evaluate.intervals import (
    DIFFERENCE_RANGE,
    RESAMPLES,
    Z_95,
    Estimate,
    estimates,
    per_user,
)
from serendip.evaluate.metrics import RankingMetric, metric
from serendip.evaluate.runs import Judged, Run, Values

MIN_USERS = 50
PRACTICAL_SHARE = 0.01
"""Smallest relative difference that is called better or worse."""

DETECTABLE_SHARE = 0.10
"""Relative difference that a comparison must be able to detect to show no difference."""

_Z_POWER_80 = 0.8416212335729143
"""Standard normal quantile at 0.8."""

BETTER = "better"
WORSE = "worse"
NO_DIFFERENCE = "no difference shown"
TOO_SMALL = "too small to tell"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paired difference, system minus baseline, with its verdict.

    Args:
        system: name of the system.
        baseline: name of the baseline.
        metric: label, e.g. ``nDCG@10``.
        difference: mean over users; None without users.
        low: lower end of the 95 % interval.
        high: upper end of the 95 % interval.
        n: number of users.
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

    def as_dict(self) -> dict[str, Any]:
        """Convert to the form in report.json."""
        return asdict(self)


def compare(
    run: Run,
    baseline: Run,
    judged: Judged,
    label: str = "nDCG@10",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two runs over the same requests by one ranking metric.

    Raises:
        ConfigError: the metric has no value per user.
    """
    ranking_metric = metric(label)
    if not isinstance(ranking_metric, RankingMetric):
        raise ConfigError(f"metric {label!r} has no values per user.", "Use e.g. nDCG@10.")
    columns = [ranking_metric.of_ranks(run.ranks), ranking_metric.of_ranks(baseline.ranks)]
    both = np.stack(columns, axis=1)  # (T, 2)
    users = per_user(both, judged.groups()) if len(judged) else both  # (U, 2)
    return compare_values(
        (run.name, baseline.name, label), users[:, 0], users[:, 1], seed, resamples
    )


def compare_values(
    names: tuple[str, str, str],
    system: Values,
    baseline: Values,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare values per user (U,); ``names`` = (system, baseline, metric label)."""
    paired = (system - baseline)[:, None]  # (U, 1)
    difference = estimates(paired, seed, resamples, DIFFERENCE_RANGE)[0]
    baseline_mean = float(baseline.mean()) if len(baseline) else 0.0
    return build_comparison(names, difference, baseline_mean)


def build_comparison(
    names: tuple[str, str, str], difference: Estimate, baseline_mean: float
) -> Comparison:
    """Build a comparison from the estimate of a paired difference."""
    verdict, detectable = decide_verdict(difference, baseline_mean)
    return Comparison(
        *names,
        difference.value,
        difference.low,
        difference.high,
        difference.n,
        verdict,
        detectable,
    )


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
