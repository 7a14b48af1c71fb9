"""Metrics, one per file, found by their label: ``metric("nDCG@10")``."""

from __future__ import annotations

import re

from serendip.errors import ConfigError
from serendip.evaluate.metrics.average_precision import AveragePrecision
from serendip.evaluate.metrics.base import (
    ExposureMetric,
    Graded,
    ListMetric,
    Metric,
    RankingMetric,
    grade,
)
from serendip.evaluate.metrics.coverage import Coverage
from serendip.evaluate.metrics.gini import Gini
from serendip.evaluate.metrics.hit_rate import HitRate
from serendip.evaluate.metrics.mrr import MRR
from serendip.evaluate.metrics.ndcg import NDCG
from serendip.evaluate.metrics.novelty import Novelty, surprise
from serendip.evaluate.metrics.precision import Precision
from serendip.evaluate.metrics.recall import Recall

METRICS: dict[str, type[Metric]] = {
    kind.name: kind
    for kind in (
        NDCG,
        Recall,
        MRR,
        HitRate,
        Precision,
        AveragePrecision,
        Coverage,
        Novelty,
        Gini,
    )
}

_LABEL = re.compile(r"([A-Za-z]+)@([1-9][0-9]{0,5})")


def metric(label: str) -> Metric:
    """The metric that a label names, e.g. ``nDCG@10``, ``Recall@50``.

    Raises:
        ConfigError: the name is unknown or the cutoff is not a whole number from 1 on.
    """
    match = _LABEL.fullmatch(label)
    if match is None or match[1] not in METRICS:
        known = ", ".join(f"{name}@k" for name in METRICS)
        raise ConfigError(f"metric {label!r} is unknown.", f"Known, with k from 1 on: {known}.")
    return METRICS[match[1]](int(match[2]))


__all__ = [
    "METRICS",
    "ExposureMetric",
    "Graded",
    "ListMetric",
    "Metric",
    "RankingMetric",
    "grade",
    "metric",
    "surprise",
]
