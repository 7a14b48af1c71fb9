"""Paired comparison of two systems, with a verdict by fixed rules.

The sampling unit is the user, the difference is paired, the interval is that of ``intervals``.
With d the mean difference, (low, high) its 95 % interval, b the baseline's mean and
MDE = (1.96 + 0.84) x standard error, the minimum detectable effect at a power of 80 %:

====================  ==============================================================
too small to tell     fewer than 50 users; or the interval holds 0 and MDE > 10 % of b
better                low > 0 and d >= 1 % of b
worse                 high < 0 and d <= -1 % of b
no difference shown   everything else: an effect of 10 % would have been seen, or the
                      effect is real but below 1 %
====================  ==============================================================

Sign and rank tests are not used: at the sizes of such data they call equal systems different
(Ihemelandu and Ekstrand, SIGIR 2023).
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
DETECTABLE_SHARE = 0.10
_Z_POWER_80 = 0.8416212335729143

BETTER = "better"
WORSE = "worse"
NO_DIFFERENCE = "no difference shown"
TOO_SMALL = "too small to tell"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired difference, system minus baseline.

    Args:
        system: name of the system.
        baseline: name of what it is compared with.
        metric: label, e.g. ``nDCG@10``.
        difference: mean over users; None where there is no user.
        low: lower end of the 95 % interval.
        high: upper end of the 95 % interval.
        n: number of users.
        verdict: better, worse, no difference shown, or too small to tell.
        minimum_detectable: difference that 80 % of such tests would see.
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
        """The form that report.json holds."""
        return asdict(self)


def compare(
    run: Run,
    baseline: Run,
    judged: Judged,
    label: str = "nDCG@10",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two runs over the same requests by one metric of relevance.

    Raises:
        ConfigError: the metric has no value per user.
    """
    chosen = metric(label)
    if not isinstance(chosen, RankingMetric):
        raise ConfigError(f"metric {label!r} cannot be compared by user.", "Take e.g. nDCG@10.")
    both = np.stack([chosen.of_ranks(run.ranks), chosen.of_ranks(baseline.ranks)], axis=1)
    users = per_user(both, judged.groups()) if len(judged) else both
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
    paired = (system - baseline)[:, None]
    found = estimates(paired, seed, resamples, DIFFERENCE_RANGE)[0]
    level = float(baseline.mean()) if len(baseline) else 0.0
    return comparison(names, found, level)


def comparison(names: tuple[str, str, str], found: Estimate, level: float) -> Comparison:
    """A paired estimate with its word; ``level`` is the baseline's mean."""
    word, detectable = verdict_word(found, level)
    return Comparison(*names, found.value, found.low, found.high, found.n, word, detectable)


def verdict_word(found: Estimate, level: float) -> tuple[str, float | None]:
    """(word, minimum detectable difference) of a paired estimate; see the table above."""
    if found.value is None or found.low is None or found.high is None:
        return TOO_SMALL, None
    error = (found.high - found.low) / (2 * Z_95)
    detectable = (Z_95 + _Z_POWER_80) * error
    practical = PRACTICAL_SHARE * level
    if found.n < MIN_USERS:
        return TOO_SMALL, detectable
    if found.low > 0 and found.value >= practical:
        return BETTER, detectable
    if found.high < 0 and found.value <= -practical:
        return WORSE, detectable
    if found.low <= 0 <= found.high and detectable > DETECTABLE_SHARE * level:
        return TOO_SMALL, detectable
    return NO_DIFFERENCE, detectable
