"""Evaluation of one protocol: metrics of every system and slice, and all paired comparisons.

A protocol is a split (temporal, leave-last-out) with the answers of all systems to its requests.
All intervals of a protocol come from the same bootstrap draws of users, so differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray
from serendip.errors import DataError
from serendip.evaluate.comparison import comparison
from serendip.evaluate.intervals import Z_95, Estimate, estimates, per_user
from serendip.evaluate.metrics import (
    ExposureMetric,
    ListMetric,
    Metric,
    RankingMetric,
    metric,
    surprise,
)
from serendip.evaluate.metrics.base import shown_items
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
CURVE_POINTS = 25

Counts: TypeAlias = NDArray[np.integer[Any]]
Pair: TypeAlias = tuple[tuple[str, str, str], int, int]


@dataclass(frozen=True, slots=True, eq=False)
class ProtocolRuns:
    """What a protocol asked and what came back.

    Args:
        key: name in report.json, e.g. ``temporal``.
        label: heading for people.
        description: one or two sentences: what was fitted on what, and asked about what.
        judged: T requests.
        runs: answers of all systems to the same T requests.
        popularity: (N,) int32 train events per item, or (C, N), one row per cut.
        catalogue_size: items that could have been shown.
        subject: name of the run the report is about.
        baselines: names of the runs it is compared with.
        cuts: per cut ``fraction, cut, train_events, targets, users``.
        seconds: system -> CPU-seconds to train it; systems without a cost are left out.

    Raises:
        DataError: runs and requests are not equally many, a name is unknown or appears twice.
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
                raise DataError(f"run {name!r} is not among {names}.")
        if len(set(names)) != len(names):
            raise DataError(f"two runs have the same name: {names}.")


def judge_protocol(
    protocol: ProtocolRuns, labels: Sequence[str], seed: int, resamples: int
) -> dict[str, Any]:
    """The section of report.json that ``report`` documents; NaN-free."""
    judged = protocol.judged
    chosen = [metric(label) for label in labels]
    ranking = [one for one in chosen if isinstance(one, RankingMetric)]
    groups = judged.groups()
    ranks = _rank_columns(protocol.runs, ranking)
    systems, comparisons = _systems(protocol, chosen, ranks, groups, (seed, resamples))
    return {
        "label": protocol.label,
        "description": protocol.description,
        "subject": protocol.subject,
        "cuts": [dict(cut) for cut in protocol.cuts],
        "n_users": judged.num_users,
        "n_targets": len(judged),
        "catalogue_size": protocol.catalogue_size,
        "systems": systems,
        "slices": _slices(protocol, ranking, ranks, groups, (seed, resamples)),
        "comparisons": comparisons,
        "seconds": dict(protocol.seconds),
        "exposure": exposure_curve(protocol),
    }


def _systems(
    protocol: ProtocolRuns,
    chosen: Sequence[Metric],
    ranks: Values,
    groups: Groups,
    draws: tuple[int, int],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Every metric of every system, in the order asked for, and all comparisons."""
    ranking = [one for one in chosen if isinstance(one, RankingMetric)]
    listed = [one for one in chosen if isinstance(one, ListMetric)]
    bits, most_bits = _list_columns(protocol, listed)
    columns = np.concatenate([ranks, bits], axis=1)
    tops = np.concatenate([np.ones(ranks.shape[1]), np.full(bits.shape[1], most_bits)])
    pairs = _pairs(protocol, ranking)
    users, found = _estimated(columns, groups, tops, pairs, draws)
    names = [(run.name, one.label) for run in protocol.runs for one in ranking]
    names += [(run.name, one.label) for run in protocol.runs for one in listed]
    values = dict(zip(names, found, strict=False))
    for run in protocol.runs:
        for one in chosen:
            if isinstance(one, ExposureMetric):
                values[run.name, one.label] = _exposure(one, run, groups, protocol.catalogue_size)
    systems = {
        run.name: {one.label: values[run.name, one.label].as_dict() for one in chosen}
        for run in protocol.runs
    }
    comparisons = [
        comparison(who, paired, float(users[:, base].mean()) if len(users) else 0.0).as_dict()
        for (who, _, base), paired in zip(pairs, found[columns.shape[1] :], strict=True)
    ]
    return systems, comparisons


def _rank_columns(runs: Sequence[Run], ranking: Sequence[RankingMetric]) -> Values:
    """(T, runs x metrics), the metrics of a run side by side."""
    count = len(runs[0]) if runs else 0
    columns = [one.of_ranks(run.ranks) for run in runs for one in ranking]
    return np.stack(columns, axis=1) if columns else np.empty((count, 0))


def _list_columns(protocol: ProtocolRuns, listed: Sequence[ListMetric]) -> tuple[Values, float]:
    """(T, runs x metrics) of bits, and the most bits that any item has."""
    popularity = np.atleast_2d(protocol.popularity)
    cuts = protocol.judged.cuts if len(popularity) > 1 else np.zeros(len(protocol.judged), np.intp)
    columns = np.zeros((len(protocol.judged), len(protocol.runs) * len(listed)))
    most = 0.0
    for cut in np.unique(cuts):
        rows = cuts == cut
        weights = surprise(popularity[cut])
        most = max(most, float(weights.max()))
        for place, run in enumerate(protocol.runs):
            for offset, one in enumerate(listed):
                at = place * len(listed) + offset
                columns[rows, at] = one.of_lists(run.lists[rows], weights)
    return columns, most


def _pairs(protocol: ProtocolRuns, ranking: Sequence[RankingMetric]) -> list[Pair]:
    """((subject, baseline, label), column of the subject, column of the baseline)."""
    place = {run.name: number * len(ranking) for number, run in enumerate(protocol.runs)}
    return [
        (
            (protocol.subject, name, one.label),
            place[protocol.subject] + offset,
            place[name] + offset,
        )
        for name in protocol.baselines
        for offset, one in enumerate(ranking)
    ]


def _estimated(
    columns: Values,
    groups: Groups,
    tops: Values,
    pairs: Sequence[Pair],
    draws: tuple[int, int],
) -> tuple[Values, list[Estimate]]:
    """User means (U, M) of the columns, and estimates of them and then of the differences."""
    users = per_user(columns, groups) if len(columns) else columns
    left = users[:, [pair[1] for pair in pairs]] if pairs else users[:, :0]
    right = users[:, [pair[2] for pair in pairs]] if pairs else users[:, :0]
    lowest = np.concatenate([np.zeros(users.shape[1]), np.full(len(pairs), -1.0)])
    highest = np.concatenate([tops, np.ones(len(pairs))])
    both = np.concatenate([users, left - right], axis=1)
    return users, estimates(both, *draws, (lowest, highest))


def _exposure(one: ExposureMetric, run: Run, groups: Groups, catalogue_size: int) -> Estimate:
    """A metric of all lists with the normal interval of its jackknife error, kept in [0, 1]."""
    if not len(run):
        return Estimate(None, None, None, 0)
    users = int(groups.max()) + 1
    value, error = one.of_exposure(run.lists, groups, catalogue_size)
    if not np.isfinite(value):
        return Estimate(None, None, None, users)
    reach = Z_95 * error
    return Estimate(value, max(0.0, value - reach), min(1.0, value + reach), users)


def _slices(
    protocol: ProtocolRuns,
    ranking: Sequence[RankingMetric],
    ranks: Values,
    groups: Groups,
    draws: tuple[int, int],
) -> dict[str, Any]:
    """Slice -> n_users, n_targets and the ranking metrics of every system."""
    sections: dict[str, Any] = {}
    for name, mask in slices(protocol.judged).items():
        inside = np.unique(groups[mask], return_inverse=True)[1].reshape(-1)
        part = ranks[mask]
        users = per_user(part, inside) if len(part) else part
        found = iter(estimates(users, *draws))
        sections[name] = {
            "n_users": len(users),
            "n_targets": int(mask.sum()),
            "systems": {
                run.name: {one.label: next(found).as_dict() for one in ranking}
                for run in protocol.runs
            },
        }
    return sections


def exposure_curve(protocol: ProtocolRuns) -> dict[str, Any]:
    """Cumulative shares over the catalogue, most popular items first.

    Returns:
        ``catalogue``: growing shares of the catalogue; ``train``: the share of train events that
        these items have; ``systems``: the share of all shown items that they are, per run.
    """
    popularity = np.atleast_2d(protocol.popularity).sum(axis=0)
    order = np.argsort(-popularity, kind="stable")
    size = max(len(order), 1)
    ends = np.unique(np.geomspace(1, size, CURVE_POINTS).round().astype(np.int64))
    curves = {}
    for run in protocol.runs:
        shown, _ = shown_items(run.lists, np.zeros(len(run), np.intp), run.lists.shape[1])
        curves[run.name] = _cumulative(np.bincount(shown, minlength=size)[order], ends)
    return {
        "catalogue": (ends / size).tolist(),
        "train": _cumulative(popularity[order], ends),
        "systems": curves,
    }


def _cumulative(counts: Counts, ends: Counts) -> list[float]:
    total = max(int(counts.sum()), 1)
    sums = np.concatenate(([0], np.cumsum(counts)))
    return [float(value) for value in sums[np.minimum(ends, len(counts))] / total]
