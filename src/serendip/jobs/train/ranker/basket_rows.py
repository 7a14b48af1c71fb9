"""Requests of the cart and of the page after an order that the ranker learns from.

They are made of the baskets of the newer part of the log, as a report makes them: half of a basket
with the rest of it as positives, and a whole basket with the user's next one.

**The choice.** Whether the ranker learns a task of its own from them is chosen on the newest
requests of each kind. Two rankers are trained without these and what is later: one with rows of the
other baskets, and one without any, which answers baskets as pages of similar items. A task is
learned if the 95 % interval of the difference of nDCG@10 on its newest requests, paired by user, is
above 0, for at least ``MIN_USERS`` users; else its requests go on being answered as similar items.
Both rankers learn from at most ``OTHERS`` requests of other kinds, so that the choice costs a part
of the ranker's own training that shrinks as the data grow.

Shapes: R rows (request, candidate), F features, Q requests, U users.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, TimeArray
from serendip.data.events.repeats import Repeats
from serendip.data.query import NEAREST_TASK, TASKS, Query, Task
from serendip.data.splits import Split
from serendip.engine.config.settings import Settings
from serendip.evaluate.comparison import MIN_USERS, compare_values
from serendip.evaluate.intervals import per_user
from serendip.jobs.surface_quality.baskets import (
    BasketRequest,
    build_next_basket,
    build_rest_of_basket,
)
from serendip.jobs.train.ranker.actions import label_actions
from serendip.jobs.train.ranker.labelled_query import LabelledQuery
from serendip.jobs.train.ranker.row_quality import ndcg_of_requests, ranker_values, rows_of_requests
from serendip.models.ranker.basket_order import BasketOrder
from serendip.models.ranker.config import RankerConfig, RankerRows
from serendip.models.ranker.model import Ranker
from serendip.runtime.progress import SilentProgress, TrainOptions

BASKET_TASKS: tuple[Task, ...] = tuple(NEAREST_TASK)

HELD_OUT = 0.3
"""Share of the baskets that the choice is made on, the newest ones."""

OTHERS = 1_000
"""Requests of other kinds that the rankers of the choice learn from, at most."""

EPOCHS = 3
"""Passes of the rankers of the choice, at most."""

SHARE_OF_TIME = 0.2
"""Share of the ranker's time for the choice."""


def build_basket_requests(
    split: Split, repeats: Repeats, settings: Settings, most: int, rng: np.random.Generator
) -> list[tuple[str, list[LabelledQuery]]]:
    """Requests of both kinds, at most ``most`` of each, of as many users as possible.

    Args:
        split: baskets that begin after its cut are read.
        repeats: which items of a history may come again.
        settings: surfaces; a task whose surface was given another one has no requests.
        most: largest number of requests of a kind.
        rng: draws their order, so that the first ones are a sample of all.
    """
    surfaces, groups = settings.all_surfaces(), []
    for task, build in (("cart", build_rest_of_basket), ("thank_you", build_next_basket)):
        surface = surfaces[task]
        if surface.task == task:
            asked = build(split, split.targets, most).requests
            order = rng.permutation(len(asked)).tolist()
            built = [_build_request(asked[row], surface.task, split, repeats) for row in order]
            groups.append((task, built))
    return [(name, labelled) for name, labelled in groups if labelled]


def _build_request(
    asked: BasketRequest, task: Task, split: Split, repeats: Repeats
) -> LabelledQuery:
    user_id, wanted = asked.basket.user_id, asked.wanted
    past = split.targets.past_before(user_id, asked.time)
    query = Query(
        task,
        source_items=asked.source,
        history=past.history,
        rejected=past.rejected,
        again=repeats.due(past.history, asked.time),
        time=asked.time,
        country=past.country,
        session=asked.basket.session,
        user_groups=past.groups,
    )
    names = wanted.actions or [""] * len(wanted.items)
    labels = [label_actions(bool(wanted.liked[row]), [names[row]]) for row in asked.chosen.tolist()]
    return LabelledQuery(query, asked.items, labels, user_id=user_id)


@dataclass(frozen=True, slots=True, eq=False)
class SampledBaskets:
    """All rows of the ranker, and the requests that they are of.

    Args:
        rows: R rows; their groups are request numbers.
        names: of the F features.
        requests: Q requests.
    """

    rows: RankerRows
    names: tuple[str, ...]
    requests: Sequence[LabelledQuery]

    @property
    def times(self) -> TimeArray:
        """(Q,) float64 Unix seconds; NaN = not known, as of written queries."""
        return np.array([request.query.time for request in self.requests], np.float64)

    @property
    def of_basket(self) -> BoolArray:
        """(R,) bool rows of baskets."""
        return np.isin(self.rows.task, [TASKS.index(task) for task in BASKET_TASKS])

    def without(self, tasks: Sequence[Task]) -> RankerRows:
        """The rows without those of some tasks."""
        return self.rows.at(~np.isin(self.rows.task, [TASKS.index(task) for task in tasks]))

    def newest(self, task: Task) -> BoolArray:
        """(Q,) bool, True for the newest ``HELD_OUT`` of the requests of a task that have rows."""
        groups = np.unique(self.rows.group[self.rows.task == TASKS.index(task)])
        times, found = self.times, np.zeros(len(self.requests), np.bool_)
        if len(groups):
            cut = np.sort(times[groups])[int((1 - HELD_OUT) * len(groups))]
            found[groups] = times[groups] >= cut
        return found

    def without_newest(self, newest: BoolArray, with_baskets: bool) -> RankerRows:
        """Rows for a ranker of the choice.

        Args:
            newest: (Q,) bool, requests that it is tested on. Of the kind whose newest ones are the
                latest, what is later than the first of these is left out, too.
            with_baskets: whether the other baskets are among them.
        """
        groups, cuts = self.rows.group, []
        for task in BASKET_TASKS:
            held_out = np.unique(groups[(self.rows.task == TASKS.index(task)) & newest[groups]])
            cuts += [self.times[held_out].min()] if len(held_out) else []
        usable = ~newest & ~(self.times >= max(cuts))  # (Q,)
        of_basket = self.of_basket  # (R,)
        others = np.unique(groups[usable[groups] & ~of_basket])
        count = min(OTHERS, len(others))
        kept = np.zeros(len(self.requests), np.bool_)
        kept[others[np.linspace(0, len(others) - 1, count).astype(np.intp)]] = True
        return self.rows.at(np.where(of_basket, usable[groups] & with_baskets, kept[groups]))

    def chosen_from(self, task: Task, newest: BoolArray) -> RankerRows:
        """Rows of those of the newest requests (Q,) of a task that have a chosen row."""
        of_task = (self.rows.task == TASKS.index(task)) & newest[self.rows.group]
        chosen = np.zeros(len(self.requests), np.bool_)
        chosen[self.rows.group[of_task & self.rows.labels.any(1)]] = True
        return self.rows.at(of_task & chosen[self.rows.group])

    def users(self, groups: NDArray[np.integer]) -> list[str]:
        """Who made the requests of some numbers."""
        return [self.requests[number].user_id for number in groups.tolist()]


def choose_basket_orders(
    baskets: SampledBaskets, settings: Settings, options: TrainOptions
) -> dict[Task, BasketOrder]:
    """Task of baskets that has rows -> whether they are learned, by the rule above."""
    present = [task for task in BASKET_TASKS if (baskets.rows.task == TASKS.index(task)).any()]
    if not present:
        return {}
    newest = np.logical_or.reduce([baskets.newest(task) for task in present])  # (Q,)
    tested = {task: baskets.chosen_from(task, newest) for task in present}
    counts = {task: len(set(baskets.users(np.unique(rows.group)))) for task, rows in tested.items()}
    few = {
        task: BasketOrder(
            users=count, note=f"its newest baskets are of {count} users ({MIN_USERS})"
        )
        for task, count in counts.items()
        if count < MIN_USERS
    }
    if len(few) == len(present):
        return few
    time = options.allowance.from_now(SHARE_OF_TIME, "baskets")
    limited = replace(options, progress=SilentProgress(), allowance=time)
    trained = (
        _train(baskets.without_newest(newest, with_baskets), baskets.names, settings, limited)
        for with_baskets in (True, False)
    )
    rankers = [ranker for ranker in trained if ranker is not None]
    if time.is_over or len(rankers) < 2:
        note = "there was no time for the choice, or nothing to learn from"
        return {task: few.get(task, BasketOrder(users=counts[task], note=note)) for task in present}
    return {
        task: few.get(task) or _compare(baskets, tested[task], rankers, settings)
        for task in present
    }


def with_tasks(config: RankerConfig, tasks: Iterable[int]) -> RankerConfig:
    """The config of a ranker with room for some tasks; without baskets it stays as it is."""
    return config.model_copy(update={"num_tasks": max(config.num_tasks, *(t + 1 for t in tasks))})


def _train(
    rows: RankerRows, names: tuple[str, ...], settings: Settings, options: TrainOptions
) -> Ranker | None:
    """A ranker for the choice, which may order the tasks that it has rows of; None without rows."""
    if not rows.labels.any():
        return None
    tasks = np.unique(rows.task).tolist()
    config = with_tasks(settings.ranker, tasks)
    config = config.model_copy(update={"epochs": min(EPOCHS, config.epochs)})
    return Ranker(config).train(rows, names, options, tasks)


def _compare(
    baskets: SampledBaskets,
    tested: RankerRows,
    rankers: Sequence[Ranker],
    settings: Settings,
) -> BasketOrder:
    """Compare rankers with and without rows of baskets on the newest requests of a task."""
    requests, chosen = rows_of_requests(tested.group), np.asarray(tested.labels.any(1))
    both = np.stack(
        [
            ndcg_of_requests(ranker_values(ranker, tested, settings), chosen, requests)
            for ranker in rankers
        ],
        axis=1,
    )  # (Q, 2)
    users = baskets.users(np.unique(tested.group))
    own, similar = per_user(both, np.unique(users, return_inverse=True)[1]).T  # (U,) each
    compared = compare_values(("own rows", "as similar items", "nDCG@10"), own, similar)
    return BasketOrder(
        is_learned=compared.low is not None and compared.low > 0,
        users=len(own),
        own=float(own.mean()),
        similar=float(similar.mean()),
        low=compared.low,
        high=compared.high,
    )
