"""Requests of the cart and of the page after an order that the ranker learns from.

They are made of the baskets of the newer part of the log, as a report makes them: half of a basket
with the rest of it as positives, and a whole basket with the user's next one.

**The choice.** Whether the ranker learns a task of its own from them is chosen on the newest
requests of each kind. Two rankers are trained without these and what is later: one with rows of the
other baskets, and one without any, which answers baskets as pages of similar items. A task is
learned if that is better on its newest requests (``evaluate/decision.py``); else its requests go on
being answered as similar items.
Both rankers learn from at most ``OTHERS`` requests of other kinds, so that the choice costs a part
of the ranker's own training that shrinks as the data grow.

Shapes: Q requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.events.repeats import Repeats
from serendip.data.query import NEAREST_TASK, TASKS, Task
from serendip.data.splits import Split
from serendip.engine.config.settings import Settings
from serendip.evaluate.comparison import MIN_USERS
from serendip.evaluate.decision import Decision
from serendip.jobs.surface_quality.baskets import (
    BasketRequest,
    ask_about_baskets,
)
from serendip.jobs.train.ranker.labels import LabelledQuery, label_actions
from serendip.jobs.train.ranker.orders import (
    RankerSample,
    RankerTrials,
    even_share,
    ranker_values,
)
from serendip.models.ranker.config import RankerRows
from serendip.models.ranker.model import Ranker
from serendip.runtime.progress import TrainOptions

BASKET_TASKS: tuple[Task, ...] = tuple(NEAREST_TASK)

HELD_OUT = 0.3
"""Share of the baskets that the choice is made on, the newest ones."""

EPOCHS = 3
"""Passes of the rankers of the choice, at most."""

SHARE_OF_TIME = 0.2
"""Share of the ranker's time for the choice."""


def build_basket_requests(
    split: Split, repeats: Repeats, settings: Settings, most: int, rng: np.random.Generator
) -> list[tuple[str, list[LabelledQuery]]]:
    """Requests of both kinds, at most ``most`` of each, of as many users as possible.

    Baskets that begin after the cut of the split are read; a task whose surface was given another
    one has no requests. Their order is drawn, so that the first ones are a sample of all.
    """
    surfaces, groups = settings.all_surfaces(), []
    for task in BASKET_TASKS:
        surface = surfaces[task]
        if surface.task == task:
            asked, _, _ = ask_about_baskets(split, split.targets, task, most)
            order = rng.permutation(len(asked)).tolist()
            built = [_build_request(asked[row], surface.task, split, repeats) for row in order]
            groups.append((task, built))
    return [(name, labelled) for name, labelled in groups if labelled]


def _build_request(
    asked: BasketRequest, task: Task, split: Split, repeats: Repeats
) -> LabelledQuery:
    query, wanted = asked.query(split.targets, task), asked.wanted
    query = replace(query, again=repeats.due(query.history, asked.time))
    names = wanted.actions or [""] * len(wanted.items)
    labels = [label_actions(bool(wanted.liked[row]), [names[row]]) for row in asked.chosen.tolist()]
    return LabelledQuery(query, asked.items, labels)


def without_tasks(rows: RankerRows, tasks: Sequence[Task]) -> RankerRows:
    """The rows without those of some tasks."""
    return rows.at(~np.isin(rows.task, [TASKS.index(task) for task in tasks]))


def name_baskets(task: Task) -> str:
    """Name of the decision about a task of baskets: on = the ranker learns it."""
    return f"baskets: {task}"


def choose_baskets(
    sample: RankerSample, settings: Settings, options: TrainOptions
) -> dict[Task, Decision]:
    """Task of baskets that has rows -> whether they are learned, by the rule above."""
    present = [task for task in BASKET_TASKS if sample.of_tasks([task]).any()]
    newest = {task: find_newest(sample, task) for task in present}  # (Q,) each
    tested = {task: sample.at(newest[task] & sample.has_choice) for task in present}
    users = {task: len(set(sample.users(rows))) for task, rows in tested.items()}
    reason = f"the newest baskets are of fewer than {MIN_USERS} users"
    rankers: list[Ranker | None] = []
    if any(count >= MIN_USERS for count in users.values()):
        reason = "there was no time for the choice, or nothing to learn from"
        trials = RankerTrials.of(settings, options, "baskets", SHARE_OF_TIME, EPOCHS)
        for rows in learned_rows(sample, newest):
            rankers.append(trials.train(rows, sample.names, np.unique(rows.task).tolist()))
    similar, own = rankers if len(rankers) == 2 else (None, None)
    if similar is None or own is None:
        return {
            task: Decision(name_baskets(task), False, n=count, reason=reason)
            for task, count in users.items()
        }
    found = {}
    for task, rows in tested.items():
        orders = ranker_values(similar, rows, settings), ranker_values(own, rows, settings)
        found[task] = sample.compare(name_baskets(task), rows, orders)
    return found


def find_newest(sample: RankerSample, task: Task) -> BoolArray:
    """(Q,) bool, True for the newest ``HELD_OUT`` of the requests of a task that have rows."""
    groups = np.unique(sample.rows.group[sample.of_tasks([task])])
    times, found = sample.times, np.zeros(len(sample.requests), np.bool_)
    if len(groups):
        cut = np.sort(times[groups])[int((1 - HELD_OUT) * len(groups))]
        found[groups] = times[groups] >= cut
    return found


def learned_rows(
    sample: RankerSample, newest: Mapping[Task, BoolArray]
) -> tuple[RankerRows, RankerRows]:
    """Rows for the rankers of the choice: without baskets, and with the older ones.

    Of the kind whose newest requests (Q,) are the latest, what is later than the first of these is
    left out, too.
    """
    times = sample.times
    held_out = np.logical_or.reduce(list(newest.values()))
    latest = max(times[mask].min() for mask in newest.values() if mask.any())
    usable = ~held_out & ~(times >= latest)  # (Q,)
    is_basket = np.zeros(len(times), np.bool_)
    is_basket[sample.rows.group[sample.of_tasks(BASKET_TASKS)]] = True
    has_rows = np.bincount(sample.rows.group, minlength=len(times)) > 0
    others = even_share(usable & ~is_basket & has_rows)
    return sample.at(others), sample.at(others | (usable & is_basket))
