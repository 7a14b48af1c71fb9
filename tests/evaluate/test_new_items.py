"""Coverage and velocity of new items: exact small logs and replays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.items.starts import DAY_S
from serendip.evaluate.new_items import (
    ItemEvents,
    NewItemFigures,
    NewItems,
    Replay,
    measure_new_items,
)

WEEK = 7.0


def events(*rows: tuple[int, float]) -> ItemEvents:
    """Of (item, day)."""
    return ItemEvents(
        np.array([item for item, _ in rows], np.int32),
        np.array([day * DAY_S for _, day in rows]),
    )


def new_items(begins: list[float], choices: ItemEvents, shown: ItemEvents | None) -> NewItems:
    """Items that appeared on some days, by a time of their own."""
    return NewItems(np.array(begins) * DAY_S, np.ones(len(begins), np.bool_), choices, shown)


def replay(lists: list[list[int]], targets: list[int], days: list[float]) -> Replay:
    return Replay(
        {"engine": np.array(lists, np.int32)},
        np.array(targets, np.int32),
        np.array(days) * DAY_S,
    )


NOTHING = replay([[-1, -1]], [-1], [0.0])


def measure(new: NewItems, asked: Replay = NOTHING, days: float = WEEK) -> NewItemFigures:
    return measure_new_items(new, asked, days, resamples=50)


def test_the_log_counts_the_first_days_of_each_item_alone() -> None:
    shown = events((0, 1), (0, 6.9), (0, 7), (1, 3), (1, 4.5), (1, 12), (2, 99), (3, 2))
    choices = events((0, 0), (0, 7), (1, 4), (1, 10.9), (1, 11), (3, 3.9))
    found = measure(new_items([0, 4, 9, 3], choices, shown))
    assert (found.items, found.requests) == (4, 1)
    assert found.logged is not None
    # Shown in their first days: twice, once, never, never; chosen once, twice, never, once.
    assert found.logged.shown.value == 0.5
    assert found.logged.impressions.value == 0.75
    assert found.choices.value == found.logged.choices.value == 1.0
    assert found.chosen.value == 0.75


def test_a_replay_counts_places_and_the_choices_that_have_one() -> None:
    new = new_items([0, 4], events(), None)
    lists = [[0, 1], [0, -1], [-1, 1], [1, 0], [0, 1]]
    asked = replay(lists, [0, 1, 1, 0, 0], [1, 2, 5, 10.9, 11])
    start = measure(new, asked).systems["engine"]
    # Item 0 on days 1 and 2, item 1 on days 5 and 10.9; day 1 is before item 1, day 11 too late.
    assert start.impressions.value == 2.0
    assert start.shown.value == 1.0
    # Found: 0 on day 1, 1 on day 5. On day 2 item 1 was chosen and not shown.
    assert start.choices.value == 1.0
    # Of ten places eight; of the five choices, whenever they were, four.
    assert start.places is not None and start.recall is not None
    assert (start.places.value, start.recall.value) == (0.8, 0.8)


def test_an_item_without_a_time_appears_in_a_replay_with_its_first_place() -> None:
    new = replace(new_items([10.0], events(), None), is_timed=np.zeros(1, np.bool_))
    asked = replay([[0], [0], [0], [0]], [-1] * 4, [2, 8.9, 9, 11])
    assert measure(new, asked).systems["engine"].impressions.value == 2.0
    late = replay([[0], [0]], [0, 0], [12, 16])
    found = measure(new, late).systems["engine"]
    assert (found.impressions.value, found.choices.value) == (2.0, 2.0)


def test_nothing_is_said_of_a_log_without_impressions() -> None:
    assert measure(new_items([0.0], events((0, 1)), None)).logged is None


def test_without_new_items_there_is_no_value() -> None:
    found = measure(new_items([], events(), events()))
    assert (found.items, found.chosen.value, found.choices.n) == (0, None, 0)
    assert found.logged is not None
    assert found.logged.shown.value is None


def test_lists_are_renumbered_by_the_places_of_the_new_items() -> None:
    lists = {"a": np.array([[7, 2, -1], [5, 0, 9]], np.int32)}
    asked = Replay.of(
        lists, np.array([9, 1], np.int32), np.array([1.0, 2.0]), np.array([9, 7], np.int32), 10
    )
    assert asked.lists["a"].tolist() == [[1, -1, -1], [-1, -1, 0]]
    assert asked.targets.tolist() == [0, -1]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=30),
    st.lists(st.integers(0, 15), min_size=4, max_size=4),
)
def test_items_are_independent_of_one_another(rows, begins) -> None:
    new = new_items([float(day) for day in begins], events(*rows), events(*rows))
    whole = measure(new)
    assert whole.logged is not None
    alone = []
    for item, begin in enumerate(begins):
        own = events(*((0, day) for other, day in rows if other == item))
        alone.append(measure(new_items([float(begin)], own, own)))
    shares = [one.logged.shown.value for one in alone if one.logged is not None]
    assert whole.logged.shown.value == pytest.approx(np.mean(shares))
    assert whole.choices.value == pytest.approx(np.mean([one.choices.value for one in alone]))
    ends = (whole.choices.low, whole.choices.value, whole.choices.high)
    assert list(ends) == sorted(ends)
