"""Metrics, one per file, found by their label: ``metric("nDCG@10")``."""

from __future__ import annotations

import re

from serendip.errors import ConfigError
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
from serendip.evaluate.metrics.mrr import MRR
from serendip.evaluate.metrics.ndcg import NDCG
from serendip.evaluate.metrics.novelty import Novelty, surprise
from serendip.evaluate.metrics.recall import Recall

METRICS: dict[str, type[Metric]] = {
    metric_class.name: metric_class
    for metric_class in (
        NDCG,
        Recall,
        MRR,
        Coverage,
        Novelty,
        Gini,
    )
}

_LABEL = re.compile(r"([A-Za-z]+)@([1-9][0-9]{0,5})")


def metric(label: str) -> Metric:
    """Create the metric of a label, e.g. ``nDCG@10``, ``Recall@50``.

    Raises:
        ConfigError: the name is unknown, or the cut-off is not a whole number >= 1.
    """
    match = _LABEL.fullmatch(label)
    if match is None or match[1] not in METRICS:
        known = ", ".join(f"{name}@k" for name in METRICS)
        raise ConfigError(f"metric {label!r} is unknown.", f"Known, with k >= 1: {known}.")
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
