"""How well a ranker orders the rows of requests: nDCG@10 among the candidates of each request.

Shapes: R rows (request, candidate), Q requests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.query import TASKS
from serendip.engine.config.settings import Settings
from serendip.engine.stages.surfaces import surface_of_task
from serendip.evaluate.metrics import Graded
from serendip.evaluate.metrics.ndcg import NDCG
from serendip.evaluate.runs import Values
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
    """(Q,) nDCG@10 of the rows of each request by their values (R,).

    Args:
        values: (R,) the larger, the earlier.
        gains: (R,) >= 0, or True for chosen rows; each request has a row above 0.
        requests: rows of each.
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
