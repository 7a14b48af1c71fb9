"""Quality of one surface: relevance, slices and exposure of every system's lists.

A request may have several relevant items: the rest of a basket, the items chosen after a search.
All values are means per user, then over users, with 95 % intervals; a request without an answer
counts 0.

A slice of users is their requests. A slice of items is the requests with a relevant item of that
kind, and only those items are relevant in it: with several relevant items, finding the popular ones
must not count as finding the cold ones.

What the lists of a system show, beside ``Gini@10`` and ``Coverage@10`` of ``metrics``:

- ``NewItems@10``: share of the places that hold an item without an event in training.
- ``PopularityLift@10``: mean popularity of what is shown / of what the same users chose before,
  minus 1; popularity = events in training (Abdollahpouri et al. 2019, arXiv:1907.13286). 0 = as
  popular as the user's own choices.

Shapes: T requests, U users, N items, S systems, M metrics, k length of a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, IntArray
from serendip.evaluate.comparison import Comparison, compare_systems, estimate_systems
from serendip.evaluate.intervals import Z_95, Estimate, estimate, per_user
from serendip.evaluate.metrics import (
    MRR,
    NDCG,
    Graded,
    RankingMetric,
    Recall,
    coverage,
    gini,
    mean_over_lists,
)
from serendip.evaluate.runs import Groups, Values, ranks_from_lists
from serendip.evaluate.special_surfaces import AuctionFigures, Sale, SystemMessages, measure_auction

K = 10
RANKING: tuple[RankingMetric, ...] = (NDCG(K), Recall(K), MRR(K))
"""Metrics that every report has of every surface."""

_LABELS = tuple(metric.label for metric in RANKING)
COMPARED = _LABELS[:2]
ALL = "all"


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """A part of the requests: rows (R,), and R arrays of what is relevant to each of them there."""

    rows: NDArray[np.intp]
    relevant: Sequence[IntArray]


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceRuns:
    """Requests of one surface and the lists of all systems.

    Args:
        question: what is asked and what is relevant, as a sentence.
        relevant: T arrays of relevant items, none empty or with repeats.
        users: (T,) external ids; the sampling unit.
        lists: system -> (T, k) distinct item numbers, best first, padded with -1; the subject
            first.
        counts: (N,) events of each item in training.
        is_new: (N,) bool, items that nobody has chosen or rejected yet.
        histories: T arrays of items that the user chose before; empty = not known.
        possible: number of requests that the T were sampled from.
        note: what a reader must know; empty = nothing.
    """

    surface: str
    question: str
    relevant: Sequence[IntArray]
    users: NDArray[np.str_]
    slices: Mapping[str, Slice]
    lists: Mapping[str, IntArray]
    counts: IntArray
    is_new: BoolArray
    histories: Sequence[IntArray]
    baselines: Sequence[str]
    possible: int
    message: Mapping[str, SystemMessages] | None = None
    sale: Sale | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """A part of the requests; systems: system -> metric -> estimate."""

    n_users: int
    n_requests: int
    systems: dict[str, dict[str, Estimate]]


@dataclass(frozen=True, slots=True)
class SurfaceFigures:
    """What is known of the quality of one surface.

    Args:
        possible: requests that these were sampled from.
        catalogue_size: number of items that could have been shown.
        subject: the system that the others are baselines of; empty = nothing was measured.
        systems: system -> metric -> estimate.
        slices: slice -> its figures; ``all`` is ``systems``.
        note: what a reader must know; empty = nothing.
    """

    surface: str
    question: str
    n_users: int = 0
    n_requests: int = 0
    possible: int = 0
    catalogue_size: int = 0
    subject: str = ""
    systems: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    slices: dict[str, SliceFigures] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    message: Mapping[str, SystemMessages] | None = None
    auction: AuctionFigures | None = None
    note: str = ""


def measure_surface(runs: SurfaceRuns, seed: int = 0) -> SurfaceFigures:
    """Estimate all figures of a surface."""
    groups, subject = _number_users(runs.users), next(iter(runs.lists))
    values = {name: value_lists(lists, runs.relevant) for name, lists in runs.lists.items()}
    systems = estimate_systems(values, _LABELS, groups, seed)
    for name, lists in runs.lists.items():
        systems[name] |= _measure_exposure(runs, lists, groups)
    return SurfaceFigures(
        surface=runs.surface,
        question=runs.question,
        n_users=len(np.unique(groups)),
        n_requests=len(groups),
        possible=runs.possible,
        catalogue_size=len(runs.counts),
        subject=subject,
        systems=systems,
        slices={name: _measure_slice(runs, part, seed) for name, part in runs.slices.items()},
        comparisons=compare_systems(values, COMPARED, (subject, runs.baselines), groups, seed),
        message=runs.message,
        auction=None if runs.sale is None else measure_auction(runs.sale, groups, seed),
        note=runs.note,
    )


def _measure_slice(runs: SurfaceRuns, part: Slice, seed: int) -> SliceFigures:
    groups = _number_users(runs.users[part.rows])
    values = {
        name: value_lists(lists[part.rows], part.relevant) for name, lists in runs.lists.items()
    }
    systems = estimate_systems(values, _LABELS, groups, seed)
    return SliceFigures(len(np.unique(groups)), len(part.rows), systems)


def value_lists(lists: IntArray, relevant: Sequence[IntArray]) -> Values:
    """Ranking metrics (T, M) of lists (T, k) whose relevant items are of equal worth."""
    if all(len(items) == 1 for items in relevant):
        targets = np.array([items[0] for items in relevant], np.int32)
        ranks = ranks_from_lists(lists, targets)
        return np.column_stack([metric.of_ranks(ranks) for metric in RANKING])
    values = np.empty((len(lists), len(RANKING)))
    for row, items in enumerate(relevant):
        graded = Graded(np.isin(lists[row], items).astype(np.float64), np.ones(len(items)))
        values[row] = [metric.of_list(graded) for metric in RANKING]
    return values


def _number_users(users: NDArray[Any]) -> Groups:
    return np.asarray(np.unique(users, return_inverse=True)[1], np.intp).reshape(-1)


def _measure_exposure(runs: SurfaceRuns, lists: IntArray, groups: Groups) -> dict[str, Estimate]:
    """What lists (T, k) show; intervals of coverage and Gini are normal, by their jackknife."""
    found, users = dict[str, Estimate](), int(groups.max(initial=-1)) + 1
    for name, measure in (("Coverage", coverage), ("Gini", gini)):
        found[f"{name}@{K}"] = Estimate(None, None, None, users)
        if not len(lists):
            continue
        value, error = measure(lists, groups, len(runs.counts), K)
        if np.isfinite(value):
            low, high = max(0.0, value - Z_95 * error), min(1.0, value + Z_95 * error)
            found[f"{name}@{K}"] = Estimate(value, low, high, users)
    shares = mean_over_lists(lists, runs.is_new.astype(np.float64), K)  # (T,)
    found[f"NewItems@{K}"] = estimate(_of_users(shares[:, None], groups)[:, 0])
    if runs.histories:
        popularity = runs.counts.astype(np.float64)
        before = [popularity[past].mean() if len(past) else np.nan for past in runs.histories]
        shown = mean_over_lists(lists, popularity, K)
        pairs = _of_users(np.column_stack([shown, before]), groups)  # (U, 2)
        found[f"PopularityLift@{K}"] = _estimate_lift(pairs)
    return found


def _estimate_lift(users: Values) -> Estimate:
    """Mean of the first of two columns (U, 2) over that of the second, minus 1.

    The interval is normal, that of a ratio of two means by the delta method.
    """
    if not len(users) or not users[:, 1].any():
        return Estimate(None, None, None, len(users))
    after, before = users.mean(axis=0)
    ratio = float(after / before)
    influence = (users[:, 0] - ratio * users[:, 1]) / before  # (U,)
    error = float(influence.std(ddof=1)) / len(users) ** 0.5 if len(users) > 1 else 0.0
    reach = Z_95 * error
    return Estimate(ratio - 1.0, ratio - 1.0 - reach, ratio - 1.0 + reach, len(users))


def _of_users(values: Values, groups: Groups) -> Values:
    """Means (U, M) of each user over the requests whose values (T, M) are all known."""
    known = ~np.isnan(values).any(axis=1)
    return per_user(values[known], _number_users(groups[known]))
