"""Evaluation of one protocol: metrics of every system and slice, and all paired comparisons.

A protocol is a split (temporal, leave-last-out) with the answers of all systems to its requests.
All intervals of a protocol are from the same bootstrap draws of users, so differences are paired.

Shapes: T requests, U users, N items, C cuts, S systems (runs), M metrics of a kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray
from serendip.errors import DataError
from serendip.evaluate.comparison import build_comparison
from serendip.evaluate.exposure import estimate_exposure
from serendip.evaluate.intervals import Estimate, estimates, per_user
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
    "HitRate@10",
    "Coverage@10",
    "Novelty@10",
    "Gini@10",
)
"""Default metrics of a report."""


Counts: TypeAlias = NDArray[np.integer[Any]]
Pair: TypeAlias = tuple[tuple[str, str, str], int, int]
"""((subject, baseline, metric label), column of the subject, column of the baseline)."""


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
    judged = protocol.judged
    metrics = [metric(label) for label in labels]
    ranking_metrics = [measure for measure in metrics if isinstance(measure, RankingMetric)]
    groups = judged.groups()  # (T,)
    ranks = _compute_rank_columns(protocol.runs, ranking_metrics)  # (T, S * M)
    systems, comparisons = _evaluate_systems(protocol, metrics, ranks, groups, (seed, resamples))
    return {
        "label": protocol.label,
        "description": protocol.description,
        "subject": protocol.subject,
        "cuts": [dict(cut) for cut in protocol.cuts],
        "n_users": judged.num_users,
        "n_targets": len(judged),
        "catalogue_size": protocol.catalogue_size,
        "systems": systems,
        "slices": _evaluate_slices(protocol, ranking_metrics, ranks, groups, (seed, resamples)),
        "comparisons": comparisons,
        "seconds": dict(protocol.seconds),
    }


def _evaluate_systems(
    protocol: ProtocolRuns,
    metrics: Sequence[Metric],
    ranks: Values,
    groups: Groups,
    draws: tuple[int, int],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Estimate every metric of every system, in the given order, and make all comparisons."""
    ranking_metrics = [measure for measure in metrics if isinstance(measure, RankingMetric)]
    list_metrics = [measure for measure in metrics if isinstance(measure, ListMetric)]
    bits, max_bits = _compute_list_columns(protocol, list_metrics)
    columns = np.concatenate([ranks, bits], axis=1)  # (T, all columns)
    highest = np.concatenate([np.ones(ranks.shape[1]), np.full(bits.shape[1], max_bits)])
    pairs = _pair_columns(protocol, ranking_metrics)
    users, estimated = _estimate_columns(columns, groups, highest, pairs, draws)
    names = [(run.name, measure.label) for run in protocol.runs for measure in ranking_metrics]
    names += [(run.name, measure.label) for run in protocol.runs for measure in list_metrics]
    values = dict(zip(names, estimated, strict=False))
    for run in protocol.runs:
        for measure in metrics:
            if isinstance(measure, ExposureMetric):
                values[run.name, measure.label] = estimate_exposure(
                    measure, run.lists, groups, protocol.catalogue_size
                )
    systems = {
        run.name: {measure.label: values[run.name, measure.label].as_dict() for measure in metrics}
        for run in protocol.runs
    }
    comparisons = [
        build_comparison(
            pair_names, difference, float(users[:, baseline].mean()) if len(users) else 0.0
        ).as_dict()
        for (pair_names, _, baseline), difference in zip(
            pairs, estimated[columns.shape[1] :], strict=True
        )
    ]
    return systems, comparisons


def _compute_rank_columns(runs: Sequence[Run], metrics: Sequence[RankingMetric]) -> Values:
    """Compute ranking metrics (T, S * M); the metrics of a run are adjacent."""
    count = len(runs[0]) if runs else 0
    columns = [measure.of_ranks(run.ranks) for run in runs for measure in metrics]
    return np.stack(columns, axis=1) if columns else np.empty((count, 0))


def _compute_list_columns(
    protocol: ProtocolRuns, metrics: Sequence[ListMetric]
) -> tuple[Values, float]:
    """Compute list metrics (T, S * M) in bits, and the largest number of bits of an item."""
    popularity = np.atleast_2d(protocol.popularity)  # (C, N)
    cuts = protocol.judged.cuts if len(popularity) > 1 else np.zeros(len(protocol.judged), np.intp)
    columns = np.zeros((len(protocol.judged), len(protocol.runs) * len(metrics)))
    max_bits = 0.0
    for cut in np.unique(cuts):
        rows = cuts == cut
        weights = surprise(popularity[cut])  # (N,)
        max_bits = max(max_bits, float(weights.max()))
        for number, run in enumerate(protocol.runs):
            for offset, measure in enumerate(metrics):
                column = number * len(metrics) + offset
                columns[rows, column] = measure.of_lists(run.lists[rows], weights)
    return columns, max_bits


def _pair_columns(protocol: ProtocolRuns, metrics: Sequence[RankingMetric]) -> list[Pair]:
    """Pair the columns of the subject with those of every baseline."""
    first = {run.name: number * len(metrics) for number, run in enumerate(protocol.runs)}
    return [
        (
            (protocol.subject, name, measure.label),
            first[protocol.subject] + offset,
            first[name] + offset,
        )
        for name in protocol.baselines
        for offset, measure in enumerate(metrics)
    ]


def _estimate_columns(
    columns: Values,
    groups: Groups,
    highest: Values,
    pairs: Sequence[Pair],
    draws: tuple[int, int],
) -> tuple[Values, list[Estimate]]:
    """User means (U, columns), and estimates of them, followed by those of the differences.

    Args:
        columns: (T, columns) values of requests.
        groups: (T,) user numbers.
        highest: (columns,) largest possible values.
        pairs: columns whose differences are estimated, too.
        draws: seed and number of bootstrap draws.
    """
    users = per_user(columns, groups) if len(columns) else columns
    left = users[:, [pair[1] for pair in pairs]] if pairs else users[:, :0]  # (U, pairs)
    right = users[:, [pair[2] for pair in pairs]] if pairs else users[:, :0]
    lows = np.concatenate([np.zeros(users.shape[1]), np.full(len(pairs), -1.0)])
    highs = np.concatenate([highest, np.ones(len(pairs))])
    both = np.concatenate([users, left - right], axis=1)  # (U, columns + pairs)
    return users, estimates(both, *draws, (lows, highs))


def _evaluate_slices(
    protocol: ProtocolRuns,
    metrics: Sequence[RankingMetric],
    ranks: Values,
    groups: Groups,
    draws: tuple[int, int],
) -> dict[str, Any]:
    """Slice -> n_users, n_targets and the ranking metrics of every system."""
    sections: dict[str, Any] = {}
    for name, mask in slices(protocol.judged).items():
        slice_groups = np.unique(groups[mask], return_inverse=True)[1].reshape(-1)
        slice_ranks = ranks[mask]  # (requests of the slice, S * M)
        users = per_user(slice_ranks, slice_groups) if len(slice_ranks) else slice_ranks
        estimated = iter(estimates(users, *draws))
        sections[name] = {
            "n_users": len(users),
            "n_targets": int(mask.sum()),
            "systems": {
                run.name: {measure.label: next(estimated).as_dict() for measure in metrics}
                for run in protocol.runs
            },
        }
    return sections
