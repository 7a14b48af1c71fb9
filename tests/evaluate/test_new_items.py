from dataclasses import replace

import numpy as np
import pytest
from data_world import dataset_of

from serendip.data import ActionRules, Event, Vocabulary
from serendip.data.dataset import Dataset
from serendip.data.events.rejections import ImpressionLog
from serendip.data.events.search_log import LoggedRequest, logged_requests
from serendip.data.items.reception import DAY_S
from serendip.data.splits import Split, temporal
from serendip.evaluate.new_items import NewItemFigures, measure_exploration, measure_new_items

OLD = [("u", "a", 0.0), ("v", "b", 1.0), ("v", "a", 2.0), ("u", "b", 3.0)]
LATER = [("u", "c", 10.0), ("v", "c", 12.0), ("w", "d", 13.0), ("w", "c", 40.0), ("w", "e", 41.0)]


def world(*shown: tuple[str, float], available: dict[str, float] | None = None) -> Dataset:
    """Events by day; ``d`` was available from the cut on, ``f`` was never chosen."""
    rows = [(user, item, day * DAY_S) for user, item, day in [*OLD, *LATER]]
    times = {name: day * DAY_S for name, day in (available or {}).items()}
    data = dataset_of(rows, available=times)
    items = data.catalogue.vocabulary.numbers(item for item, _ in shown)
    return replace(
        data, impressions=ImpressionLog(items, np.array([day * DAY_S for _, day in shown]))
    )


def judge(data: Dataset, lists: list[list[str]]) -> NewItemFigures:
    split = temporal(data, 4 / 9)
    return measure_new_items(data, split, split.targets, {"engine": tabulate(split, lists)})


def tabulate(split: Split, lists: list[list[str]]) -> np.ndarray:
    order = np.argsort(split.targets.times)
    table = np.full((len(split.targets), 2), -1, np.int32)
    for row, ids in zip(order.tolist(), lists, strict=False):
        table[row, : len(ids)] = split.catalogue.vocabulary.numbers(ids)
    return table


def test_new_are_items_that_appeared_after_the_cut_or_have_such_a_time() -> None:
    found = judge(world(), [])
    assert found.days == 7.0
    assert (found.items, found.too_late, found.requests) == (2, 1, 5)  # c and d; e is too late
    assert found.chosen.value == 1.0
    assert found.choices.value == 1.5  # c twice within its week, d once
    assert found.logged is None

    found = judge(world(available={"d": 11.0, "f": 20.0, "e": 1.0}), [])
    # c and d; f was never chosen, and e is as old as the training data.
    assert (found.items, found.too_late) == (3, 0)
    assert found.chosen.value == 2 / 3


def test_impressions_of_the_log_and_places_of_the_lists_are_counted() -> None:
    shown = [("c", 10.0), ("a", 10.5), ("c", 11.0), ("c", 16.9), ("c", 17.0), ("d", 30.0)]
    lists = [["c", "a"], ["d", "c"], ["b"], [], []]
    found = judge(world(*shown), lists)
    assert found.items == 2
    # c was seen three times in its first days; d was not seen in its first days.
    assert found.logged.impressions.value == 1.5
    assert found.logged.shown.value == 0.5
    start = found.systems["engine"]
    # The lists have c on days 10 and 12, when it was chosen, and d on day 12.
    assert (start.impressions.value, start.shown.value) == (1.5, 1.0)
    assert start.choices.value == 1.0
    # Of ten places three; of the four choices of c and d two.
    assert (start.places.value, start.recall.value) == (0.3, 0.5)


@pytest.mark.parametrize(("available", "impressions"), [({}, 2.0), ({"d": 13.0}, 1.0)])
def test_an_item_without_a_time_appears_in_a_replay_with_its_first_place(
    available: dict[str, float], impressions: float
) -> None:
    """d is shown on days 10, 12 and 40, and chosen on day 13; c is never shown."""
    found = judge(world(available=available), [["d"], ["d"], [], ["d"]])
    shown = found.systems["engine"].impressions.value
    assert shown == (impressions / 2 if not available else 0.0)


ITEMS = Vocabulary("abcd")


def event(
    user: str, item: str, action: str, request: str, propensity: float | None = None
) -> Event:
    return Event(user, item, 1.0, action, request_id=request, propensity=propensity)


LOG = [
    event("u", "a", "impression", "r1"),
    event("u", "b", "impression", "r1", 0.5),
    event("u", "b", "click", "r1", 0.5),
    event("u", "a", "click", "r1"),
    event("u", "c", "impression", "r2", 0.25),
    event("v", "d", "impression", "r3", 0.1),
    event("v", "d", "click", "r3"),
    event("w", "a", "impression", "r4", 1.0),
    event("w", "a", "click", "r4", 1.0),
    event("w", "a", "hide", "r4"),
    event("w", "b", "click", "r5", 0.001),
]
"""Weights 2 and 4 for u, 10 for v, 1 for w; b and d were chosen, a was taken back, and the last
click has no impression."""


def requests(events: list[Event]) -> list[LoggedRequest]:
    return logged_requests(events, ITEMS, ActionRules())


@pytest.mark.parametrize(("most", "rate", "clipped"), [(100.0, 12 / 17, 0), (4.0, 6 / 11, 1)])
def test_the_estimate_is_that_by_hand(most: float, rate: float, clipped: int) -> None:
    found = measure_exploration(requests(LOG), most_weight=most)
    assert (found.impressions, found.choices, found.clipped) == (4, 2, clipped)
    assert (found.most_weight, found.rate.n) == (most, 3)
    assert found.rate.value == pytest.approx(rate, rel=1e-12)
    assert 0.0 <= found.rate.low < rate < found.rate.high <= 1.0


def test_without_any_choice_the_interval_still_has_a_width() -> None:
    shown = [event(f"u{n}", "a", "impression", "r", 0.2) for n in range(12)]
    found = measure_exploration(requests(shown))
    assert (found.rate.value, found.rate.low) == (0.0, 0.0)
    assert found.rate.high == pytest.approx(1 - 0.025 ** (1 / 12))
