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
from serendip.evaluate.runs import Keys, Values, ranks_from_lists
from serendip.evaluate.special_surfaces import (
    Sale,
    SystemMessages,
    measure_auction,
    measure_messages,
)

K = 10
RANKING: tuple[RankingMetric, ...] = (NDCG(K), Recall(K), MRR(K))
"""Metrics that every report has of every surface."""

_LABELS = tuple(metric.label for metric in RANKING)
COMPARED = _LABELS[:2]
ALL = "all"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """T requests of one surface, what is relevant to each, and the lists of all systems.

    Args:
        question: what is asked and what is relevant, as a sentence.
        keys: (T,) what identifies the requests in other runs.
        users: (T,) external ids; the sampling unit.
        parts: ``all``, then slice -> T arrays of relevant items, without repeats; empty = the
            request is not in the slice.
        lists: system -> (T, k) distinct item numbers, best first, padded with -1; the subject
            first.
        counts: (N,) events of each item in training.
        is_new: (N,) bool, items that nobody has chosen or rejected yet.
        histories: T arrays of items that the user chose before; empty = not known.
        possible: number of requests that the T were sampled from.
        afterwards: T arrays of items that the user chose next, of a surface that sends messages;
            empty = it sends none.
        note: what a reader must know; empty = nothing.
    """

    surface: str
    question: str
    keys: Keys
    users: NDArray[np.str_]
    parts: Mapping[str, Sequence[IntArray]]
    lists: Mapping[str, IntArray]
    counts: IntArray
    is_new: BoolArray
    histories: Sequence[IntArray]
    baselines: Sequence[str]
    possible: int
    afterwards: Sequence[IntArray] = ()
    sale: Sale | None = None
    note: str = ""

    @property
    def subject(self) -> str:
        """The system that the others are baselines of."""
        return next(iter(self.lists))

    def means(self, part: str) -> dict[str, Values]:
        """System -> ranking metrics (U, M) of each user with a request in a part."""
        return {
            name: per_user(value_lists(lists, self.parts[part]), self.users)
            for name, lists in self.lists.items()
        }


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
    auction: Mapping[str, Estimate] | None = None
    note: str = ""


def measure_surface(run: Run, seed: int = 0) -> SurfaceFigures:
    """Estimate all figures of a surface."""
    means = run.means(ALL)
    whole = _measure_part(run, ALL, means, seed)
    for name, lists in run.lists.items():
        whole.systems[name] |= _measure_exposure(run, lists)
    sent = run.lists.items() if run.afterwards else ()
    message = {name: measure_messages(lists, run.afterwards) for name, lists in sent}
    return SurfaceFigures(
        surface=run.surface,
        question=run.question,
        n_users=whole.n_users,
        n_requests=whole.n_requests,
        possible=run.possible,
        catalogue_size=len(run.counts),
        subject=run.subject,
        systems=whole.systems,
        slices={
            part: _measure_part(run, part, run.means(part), seed)
            for part in run.parts
            if part != ALL
        },
        comparisons=compare_systems(means, COMPARED, (run.subject, run.baselines), seed),
        message=message if run.afterwards else None,
        auction=None if run.sale is None else measure_auction(run.sale, run.users, seed),
        note=run.note,
    )


def _measure_part(run: Run, part: str, means: Mapping[str, Values], seed: int) -> SliceFigures:
    n_requests = sum(len(items) > 0 for items in run.parts[part])
    systems = estimate_systems(means, _LABELS, seed)
    return SliceFigures(len(means[run.subject]), n_requests, systems)


def value_lists(lists: IntArray, relevant: Sequence[IntArray]) -> Values:
    """Ranking metrics (T, M) of lists (T, k) whose relevant items are of equal worth.

    NaN where nothing is relevant.
    """
    sizes = np.array([len(items) for items in relevant], np.int64)
    rows, values = np.flatnonzero(sizes), np.full((len(lists), len(RANKING)), np.nan)
    if sizes.max(initial=0) <= 1:
        targets = np.array([relevant[row][0] for row in rows.tolist()], np.int32)
        ranks = ranks_from_lists(lists[rows], targets)
        values[rows] = np.column_stack([metric.of_ranks(ranks) for metric in RANKING])
        return values
    for row in rows.tolist():
        is_relevant = np.isin(lists[row], relevant[row]).astype(np.float64)
        graded = Graded(is_relevant, np.ones(sizes[row]))
        values[row] = [metric.of_list(graded) for metric in RANKING]
    return values


def _measure_exposure(run: Run, lists: IntArray) -> dict[str, Estimate]:
    """What lists (T, k) show; intervals of coverage and Gini are normal, by their jackknife."""
    ids, groups = np.unique(run.users, return_inverse=True)
    found = dict[str, Estimate]()
    for name, measure in (("Coverage", coverage), ("Gini", gini)):
        found[f"{name}@{K}"] = Estimate(None, None, None, len(ids))
        if not len(lists):
            continue
        value, error = measure(lists, groups.reshape(-1), len(run.counts), K)
        if np.isfinite(value):
            low, high = max(0.0, value - Z_95 * error), min(1.0, value + Z_95 * error)
            found[f"{name}@{K}"] = Estimate(value, low, high, len(ids))
    shares = mean_over_lists(lists, run.is_new.astype(np.float64), K)  # (T,)
    found[f"NewItems@{K}"] = estimate(per_user(shares[:, None], run.users)[:, 0])
    if run.histories:
        popularity = run.counts.astype(np.float64)
        before = [popularity[past].mean() if len(past) else np.nan for past in run.histories]
        shown = mean_over_lists(lists, popularity, K)
        pairs = per_user(np.column_stack([shown, before]), run.users)  # (U, 2)
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
