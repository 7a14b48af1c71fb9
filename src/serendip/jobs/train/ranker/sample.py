"""Rows of the ranker with the requests that they are of, and orders of them by nDCG@10.

Shapes: R rows (request, candidate), F features, Q requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, TimeArray
from serendip.data.query import NEAREST_TASK, TASKS, Task
from serendip.data.text import normalise
from serendip.engine.config.settings import Settings
from serendip.engine.stages.surfaces import surface_of_task
from serendip.evaluate.decision import FEWEST, Decision, choose
from serendip.evaluate.metrics import NDCG, Graded
from serendip.evaluate.runs import Values
from serendip.jobs.surface_quality.requests import LabelledQuery
from serendip.models.ranker.config import RankerRows
from serendip.models.ranker.model import Ranker, action_value


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
        weights = surfaces[surface_of_task(surfaces, TASKS[number])].action_weights
        values[of_task] = action_value(probabilities[of_task], weights, actions)
    return values


OTHERS = 1_000
"""Requests of other kinds that the rankers of choices learn from, at most."""


def even_share(wanted: BoolArray, most: int = OTHERS) -> BoolArray:
    """The same mask (Q,) with at most so many of its places, evenly."""
    places = np.flatnonzero(wanted)
    count = min(most, len(places))
    kept = np.zeros(len(wanted), np.bool_)
    kept[places[np.linspace(0, len(places) - 1, count).astype(np.intp)]] = True
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class RankerSample:
    """R rows of the ranker, with the names of their F features, and the Q requests that they are
    of.

    Groups of the rows are request numbers.
    """

    rows: RankerRows
    names: Sequence[str]
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

    def first(self, count: int) -> Self:
        """The first requests, without those of baskets, which come last."""
        count = min(count, sum(one.query.task not in NEAREST_TASK for one in self.requests))
        rows = self.rows.at(self.rows.group < count)
        return replace(self, rows=rows, requests=self.requests[:count])

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
        return choose(name, without, with_, self.users(rows), tests=tests, fewest=FEWEST)


def gains_of(rows: RankerRows) -> FloatArray:
    """(R,) weights of chosen rows, 0 for others."""
    gains: FloatArray = np.where(rows.labels.any(1), rows.weights, 0.0)
    return gains
