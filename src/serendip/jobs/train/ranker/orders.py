"""Compares orders of the candidates of requests by nDCG@10, and trains the rankers that make them.

**How much of the popularity of items the ranker's order can do without.** A ranker learns that
popular items are chosen more often, partly because they were shown more often. Dividing its values
by (20 + interactions) to a power takes some of that back: fewer items take all places, and items of
the tail get some. The power is learned on the requests that the ranker was trained on, the newest
ones: the largest one that costs next to nothing of nDCG@10 among the candidates of a request. The
division of values is a form of inverse propensity weighting in which the propensity of an item is a
power of its popularity (Steck 2011, "Item popularity and recommendation accuracy", RecSys);
difference: it corrects the order and not the loss.

Shapes: R rows (request, candidate), F features, Q requests, H compared requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray, TimeArray
from serendip.data.query import TASKS, Task
from serendip.data.text import normalise
from serendip.engine.config.settings import Settings
from serendip.engine.stages.scoring import discount_popular
from serendip.engine.stages.surfaces import surface_of_task
from serendip.evaluate.comparison import MIN_USERS
from serendip.evaluate.decision import Decision, choose
from serendip.evaluate.metrics import NDCG, Graded
from serendip.evaluate.runs import Values
from serendip.jobs.train.ranker.labels import LabelledQuery
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.models.ranker.model import Ranker, action_value
from serendip.runtime.progress import SilentProgress, TrainOptions

OTHERS = 1_000
"""Requests of other kinds that a ranker of a choice learns from, at most."""


def rows_of_requests(group: NDArray[np.integer]) -> list[NDArray[np.intp]]:
    """Row numbers of each request, by increasing request number of the rows (R,)."""
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def ndcg_of_requests(
    values: NDArray[np.floating],
    gains: BoolArray | FloatArray,
    requests: Sequence[NDArray[np.intp]],
) -> Values:
    """(Q,) nDCG@10 of the rows of each request by their values (R,), the larger the earlier.

    Gains (R,) are >= 0, or True for chosen rows; each request has a row above 0.
    """
    metric, found = NDCG(10), []
    for rows in requests:
        ordered = gains[rows[np.argsort(-values[rows], kind="stable")]].astype(np.float64)
        found.append(metric.of_list(Graded(ordered, np.sort(ordered[ordered > 0])[::-1])))
    return np.array(found)


def ranker_values(ranker: Ranker, rows: RankerRows, settings: Settings) -> FloatArray:
    """(R,) values of rows, by the action weights of the surface of their task."""
    surfaces, actions = settings.all_surfaces(), ranker.config.actions
    read_as = np.array([ranker.number_of(task) for task in TASKS])  # (tasks,)
    probabilities = ranker.predict(rows.features, read_as[rows.task])  # (R, A)
    values = np.empty(len(rows), np.float32)
    for number in np.unique(rows.task).tolist():
        of_task = rows.task == number
        weights = (
            surfaces[surface_of_task(surfaces, TASKS[number])].with_actions(actions).action_weights
        )
        values[of_task] = action_value(probabilities[of_task], weights, actions)
    return values


@dataclass(frozen=True, slots=True, eq=False)
class RankerSample:
    """R rows of the ranker, with the names of their F features, and the Q requests that they are
    of.

    Groups of the rows are request numbers.
    """

    rows: RankerRows
    names: tuple[str, ...]
    requests: Sequence[LabelledQuery]

    @property
    def times(self) -> TimeArray:
        """(Q,) float64 Unix seconds; NaN = not known, as of written queries."""
        return np.array([request.query.time for request in self.requests], np.float64)

    @property
    def has_choice(self) -> BoolArray:
        """(Q,) bool, whether a row of a request was chosen."""
        chosen = self.rows.labels.any(1)
        return np.bincount(self.rows.group, chosen, len(self.requests)) > 0

    def of_tasks(self, tasks: Sequence[Task]) -> BoolArray:
        """(R,) bool rows of some tasks."""
        return np.isin(self.rows.task, [TASKS.index(task) for task in tasks])

    def at(self, wanted: BoolArray) -> RankerRows:
        """Rows of the requests where ``wanted`` (Q,) is true."""
        return self.rows.at(wanted[self.rows.group])

    def users(self, rows: RankerRows) -> list[str]:
        """Who made the requests of rows, by their number: ids, else words, else nobody else."""
        made = [(number, self.requests[number]) for number in np.unique(rows.group).tolist()]
        return [
            request.query.user_id or f"\0{normalise(request.query.text) or number}"
            for number, request in made
        ]

    def compare(
        self,
        name: str,
        rows: RankerRows,
        orders: tuple[NDArray[np.floating], NDArray[np.floating]],
        tests: int = 1,
    ) -> Decision:
        """Whether rows of requests are ordered better by the second values (R,) than by the first.

        Each request has a chosen row; weights of these are their gains. For ``tests`` see
        ``choose``.
        """
        gains, requests = gains_of(rows), rows_of_requests(rows.group)
        without, with_ = (ndcg_of_requests(values, gains, requests) for values in orders)
        return choose(name, without, with_, self.users(rows), tests=tests, fewest=MIN_USERS)


def with_room(config: RankerConfig, tasks: Iterable[int]) -> RankerConfig:
    """The config of a ranker with room for some tasks; without baskets it stays as it is."""
    return config.model_copy(
        update={"num_tasks": max(config.num_tasks, *(t + 1 for t in tasks), 1)}
    )


def gains_of(rows: RankerRows) -> FloatArray:
    """(R,) weights of chosen rows, 0 for others."""
    gains: FloatArray = np.where(rows.labels.any(1), rows.weights, 0.0)
    return gains


def even_share(wanted: BoolArray) -> BoolArray:
    """The same mask (Q,) with at most ``OTHERS`` of its places, evenly."""
    places = np.flatnonzero(wanted)
    count = min(OTHERS, len(places))
    kept = np.zeros(len(wanted), np.bool_)
    kept[places[np.linspace(0, len(places) - 1, count).astype(np.intp)]] = True
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class RankerTrials:
    """Trains the rankers of a choice, within a share of the ranker's time.

    A ranker whose training the time ended would be compared as if it were whole: there is none.
    """

    settings: Settings
    options: TrainOptions

    @classmethod
    def of(
        cls,
        settings: Settings,
        options: TrainOptions,
        name: str,
        share: float,
        epochs: int | None = None,
    ) -> Self:
        """Trials in a share of the time, with at most ``epochs`` passes each."""
        ranker = settings.ranker
        if epochs is not None:
            ranker = ranker.model_copy(update={"epochs": min(epochs, ranker.epochs)})
        time = options.allowance.from_now(share, name)
        limited = replace(options, progress=SilentProgress(), allowance=time)
        return cls(settings.model_copy(update={"ranker": ranker}), limited)

    def train(
        self,
        rows: RankerRows,
        names: Sequence[str],
        tasks: Sequence[int] | None = None,
        share: float = 1.0,
    ) -> Ranker | None:
        """Train a ranker that may order some tasks, in a share of the time that is left.

        None if no row was chosen, or the time was over before its end.
        """
        left = self.options.allowance
        if not rows.labels.any():
            return None
        time, ranker = replace(left.from_now(share), cuts=[]), None
        if not left.is_over:
            ranker = Ranker(with_room(self.settings.ranker, tasks or ()))
            ranker.train(rows, names, replace(self.options, allowance=time), tasks)
        if ranker is None or time.cuts:
            left.cut(0.0)
            return None
        return ranker

    def values(self, ranker: Ranker, rows: RankerRows) -> FloatArray:
        """(R,) values of rows by a ranker of these trials."""
        return ranker_values(ranker, rows, self.settings)


POWERS = (0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
"""Powers that are tried, the largest first."""

MAX_LOSS = 0.005
"""Largest share of nDCG@10 that a discount may cost on the ranker's rows."""

MIN_REQUESTS = 200
"""With fewer requests nothing is learned, and the power is 0; a guess, not measured."""

POPULARITY = "log popularity"


def learn_discounts(ranker: Ranker, rows: RankerRows, settings: Settings) -> dict[str, float]:
    """Task that the ranker orders -> power, by the action weights of the task's surface."""
    column = ranker.feature_names.index(POPULARITY)
    powers: dict[str, float] = {}
    for number in ranker.ordered_tasks:
        of_task = rows.task == number
        powers[TASKS[number]] = learn_discount(
            ranker_values(ranker, rows.at(of_task), settings),
            np.rint(np.expm1(rows.features[of_task, column])).astype(np.int32),
            rows.labels[of_task].any(1),
            rows.group[of_task],
        )
    return powers


def learn_discount(
    values: FloatArray, counts: IntArray, chosen: BoolArray, group: NDArray[np.integer]
) -> float:
    """The largest power that costs at most ``MAX_LOSS`` of nDCG@10.

    (R,) each: values of the ranker, interactions of the items, whether they were chosen, and
    numbers of the requests.
    """
    requests = [rows for rows in rows_of_requests(group) if chosen[rows].any()]
    if len(requests) < MIN_REQUESTS:
        return 0.0
    least = (1 - MAX_LOSS) * ndcg_of_requests(values, chosen, requests).mean()
    for power in POWERS:
        discounted = discount_popular(values, counts, power)
        if ndcg_of_requests(discounted, chosen, requests).mean() >= least:
            return power
    return 0.0
