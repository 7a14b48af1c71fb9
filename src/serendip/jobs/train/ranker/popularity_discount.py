"""How much of the popularity of items the ranker's order can do without.

A ranker learns that popular items are chosen more often, partly because they were shown more often.
Dividing its values by (20 + interactions) to a power takes some of that back: fewer items take all
places, and items of the tail get some. The power is learned on the requests that the ranker was
trained on, the newest ones: the largest one that costs next to nothing of nDCG@10 among the
candidates of a request. The division of values is a form of inverse propensity weighting in which
the propensity of an item is a power of its popularity (Steck 2011, "Item popularity and
recommendation accuracy", RecSys); difference: it corrects the order and not the loss.

Shapes: R rows (request, candidate).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.query import TASKS
from serendip.engine.config.settings import Settings
from serendip.engine.stages.scoring import discount_popular
from serendip.jobs.train.ranker.sample import ndcg_of_requests, ranker_values, rows_of_requests
from serendip.models.ranker.config import RankerRows
from serendip.models.ranker.model import Ranker

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
