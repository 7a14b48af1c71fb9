"""Evaluation of one protocol: metrics of every system and slice, and all paired comparisons.

A protocol is a split (temporal, leave-last-out) with the answers of all systems to its requests.
All intervals of a protocol are from the same bootstrap draws of users, so differences are paired.

Shapes: T requests, U users, N items, C cuts, S systems (runs), M metrics of a kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serendip.data.arrays import BoolArray, IntArray
from serendip.errors import DataError
from serendip.evaluate.comparison import compare_systems, estimate_systems
from serendip.evaluate.exposure import estimate_exposure
from serendip.evaluate.intervals import Estimate
from serendip.evaluate.metrics import (
    ExposureMetric,
    ListMetric,
    Metric,
    RankingMetric,
    metric,
    surprise,
)
from serendip.evaluate.runs import Groups, Judged, Run, Values
from serendip.evaluate.slices import slices

METRICS = (
    "nDCG@10",
    "Recall@10",
    "MRR@10",
    "Coverage@10",
    "Novelty@10",
    "Gini@10",
)
"""Default metrics of a report."""


@dataclass(frozen=True, slots=True, eq=False)
class ProtocolRuns:
    """Requests of a protocol and the answers of all systems.

    Args:
        key: name in report.json, e.g. ``temporal``.
        label: heading in the report.
        description: one or two sentences about training data and requests.
        judged: T requests.
        runs: answers of all systems to the same T requests.
        popularity: (N,) int32 train events per item, or (C, N), one row per cut.
        catalogue_size: number of items that could have been shown.
        subject: name of the run that the report is about.
        baselines: names of the runs that it is compared with.
        cuts: ``fraction, cut, train_events, targets, users`` of each cut.
        seconds: system -> CPU-seconds of training; systems without a cost are left out.

    Raises:
        DataError: a run has another number of answers than there are requests, or a name is
            unknown or appears twice.
    """

    key: str
    label: str
    description: str
    judged: Judged
    runs: Sequence[Run]
    popularity: IntArray
    catalogue_size: int
    subject: str
    baselines: Sequence[str] = ()
    cuts: Sequence[Mapping[str, Any]] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [run.name for run in self.runs]
        for run in self.runs:
            if len(run) != len(self.judged):
                raise DataError(
                    f"run {run.name!r} has {len(run)} answers to {len(self.judged)} requests.",
                    "Answer every request; a request without an answer has rank inf.",
                )
        for name in (self.subject, *self.baselines):
            if name not in names:
                raise DataError(f"run {name!r} is not among {names}.", "Give a run of this name.")
        if len(set(names)) != len(names):
            raise DataError(f"two runs have the same name: {names}.", "Rename one of them.")


def evaluate_protocol(
    protocol: ProtocolRuns, labels: Sequence[str], seed: int, resamples: int
) -> dict[str, Any]:
    """Build the section of report.json that ``report.document`` describes; without NaN."""
    judged, draws = protocol.judged, (seed, resamples)
    metrics = [metric(label) for label in labels]
    ranking_metrics = [measure for measure in metrics if isinstance(measure, RankingMetric)]
    ranking = [measure.label for measure in ranking_metrics]
    groups = judged.groups()  # (T,)
    values = {
        run.name: _stack([measure.of_ranks(run.ranks) for measure in ranking_metrics], len(run))
        for run in protocol.runs
    }
    systems = _estimate_all(protocol, metrics, values, groups, draws)
    compared = (protocol.subject, protocol.baselines)
    return {
        "label": protocol.label,
        "description": protocol.description,
        "subject": protocol.subject,
        "cuts": [dict(cut) for cut in protocol.cuts],
        "n_users": judged.num_users,
        "n_targets": len(judged),
        "catalogue_size": protocol.catalogue_size,
        "systems": {
            name: {label: found[label].as_dict() for label in labels}
            for name, found in systems.items()
        },
        "slices": {
            name: _evaluate_slice(values, ranking, groups, mask, draws)
            for name, mask in slices(judged).items()
        },
        "comparisons": [
            one.as_dict() for one in compare_systems(values, ranking, compared, groups, draws)
        ],
        "seconds": dict(protocol.seconds),
    }


def _estimate_all(
    protocol: ProtocolRuns,
    metrics: Sequence[Metric],
    values: Mapping[str, Values],
    groups: Groups,
    draws: tuple[int, int],
) -> dict[str, dict[str, Estimate]]:
    """System -> label -> estimate, of metrics of all kinds; ``values`` are the ranking metrics."""
    ranking = [measure.label for measure in metrics if isinstance(measure, RankingMetric)]
    list_metrics = [measure for measure in metrics if isinstance(measure, ListMetric)]
    bits, max_bits = _compute_list_columns(protocol, list_metrics)
    labels = [measure.label for measure in list_metrics]
    of_lists = estimate_systems(bits, labels, groups, draws, max_bits)
    systems = estimate_systems(values, ranking, groups, draws)
    for run in protocol.runs:
        systems[run.name] |= of_lists[run.name]
        for measure in metrics:
            if isinstance(measure, ExposureMetric):
                systems[run.name][measure.label] = estimate_exposure(
                    measure, run.lists, groups, protocol.catalogue_size
                )
    return systems


def _compute_list_columns(
    protocol: ProtocolRuns, metrics: Sequence[ListMetric]
) -> tuple[dict[str, Values], float]:
    """System -> list metrics (T, M) in bits; and the largest number of bits of an item."""
    popularity = np.atleast_2d(protocol.popularity)  # (C, N)
    cuts = protocol.judged.cuts if len(popularity) > 1 else np.zeros(len(protocol.judged), np.intp)
    columns = {run.name: np.zeros((len(run), len(metrics))) for run in protocol.runs}
    max_bits = 0.0
    for cut in np.unique(cuts):
        rows = cuts == cut
        weights = surprise(popularity[cut])  # (N,)
        max_bits = max(max_bits, float(weights.max()))
        for run in protocol.runs:
            part = [measure.of_lists(run.lists[rows], weights) for measure in metrics]
            columns[run.name][rows] = _stack(part, int(rows.sum()))
    return columns, max_bits


def _stack(columns: Sequence[Values], count: int) -> Values:
    """Columns (T,) as a table (T, M), which may have none."""
    return np.stack(columns, axis=1) if columns else np.empty((count, 0))


def _evaluate_slice(
    values: Mapping[str, Values],
    labels: Sequence[str],
    groups: Groups,
    mask: BoolArray,
    draws: tuple[int, int],
) -> dict[str, Any]:
    """n_users, n_targets and the ranking metrics of every system for some requests."""
    users = np.unique(groups[mask], return_inverse=True)[1].reshape(-1)
    part = {name: columns[mask] for name, columns in values.items()}
    systems = estimate_systems(part, labels, users, draws)
    return {
        "n_users": len(np.unique(users)),
        "n_targets": int(mask.sum()),
        "systems": {
            name: {label: found[label].as_dict() for label in labels}
            for name, found in systems.items()
        },
    }
