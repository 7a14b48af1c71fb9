"""When items appeared, how often they were shown, and which of them a promise still holds for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_world import dataset_of
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.events.impression_log import ImpressionLog
from serendip.data.events.negative_log import NegativeLog
from serendip.data.items.fair_start import DAY_S, NO_PROMISE, ItemStarts, Promise
from serendip.data.rows.strings import open_arrays, save_arrays
from serendip.errors import ArtefactError

ALWAYS = -np.inf


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


def impressions(*rows: tuple[int, float]) -> ImpressionLog:
    """Of (item, time), in order of time."""
    return ImpressionLog(ints(*(item for item, _ in rows)), np.array([at for _, at in rows]))


def starts(first_events: list[float], shown: list[int]) -> ItemStarts:
    return ItemStarts(np.array(first_events, np.float64), ints(*shown))


def owed(
    known: ItemStarts, promise: Promise, time: float, available: list[float] | None = None
) -> list[int]:
    items = np.arange(len(known.impressions), dtype=np.int32)
    times = np.full(len(items), ALWAYS) if available is None else np.array(available)
    return np.flatnonzero(known.find_owed(promise, items, times, time)).tolist()


def test_the_first_event_of_an_item_is_of_any_kind() -> None:
    data = dataset_of([("u", "a", 9), ("v", "a", 5), ("v", "b", 7)], items="abcd")
    data = replace(
        data,
        impressions=impressions((1, 3.0), (0, 8.0), (1, 8.5)),
        negatives=NegativeLog(
            ints(0),
            ints(2),
            np.array([4.0]),
            np.array([np.nan], np.float32),
            np.array([3], np.int8),
            np.array([np.inf]),
        ),
    )
    found = ItemStarts.of(data)
    assert found.first_events.tolist() == [5.0, 3.0, 4.0, np.inf]
    assert found.impressions.tolist() == [1, 2, 0, 0]


def test_an_item_is_owed_until_it_was_shown_often_enough_or_is_old() -> None:
    known = starts([0.0, 0.0, 3 * DAY_S, np.inf], [0, 2, 1, 0])
    promise = Promise(2, 7.0)
    assert owed(known, promise, DAY_S) == [0, 2, 3]
    assert owed(known, promise, 7 * DAY_S - 1) == [0, 2, 3]
    assert owed(known, promise, 7 * DAY_S) == [2, 3]
    assert owed(known, promise, 10 * DAY_S) == [3]
    assert owed(known, Promise(3, 7.0), DAY_S) == [0, 1, 2, 3]
    assert owed(known, Promise(2, 0.5), DAY_S) == [2, 3]


def test_an_item_appears_when_it_becomes_available_whatever_the_log_says() -> None:
    known = starts([0.0, 8 * DAY_S, np.inf], [0, 0, 0])
    available = [5 * DAY_S, 1 * DAY_S, ALWAYS]
    assert owed(known, Promise(1, 7.0), 9 * DAY_S, available) == [0, 2]


def test_nothing_is_owed_without_a_promise_a_time_or_a_log() -> None:
    known = starts([0.0, np.inf], [0, 0])
    assert owed(known, NO_PROMISE, 1.0) == []
    assert owed(known, Promise(5), np.nan) == []
    unknown = ItemStarts()
    assert unknown.find_owed(Promise(5), ints(0, 1), np.full(2, ALWAYS), 1.0).tolist() == [0, 0]
    assert (
        not unknown.with_items(3).with_events(ints(0), np.array([1.0]), np.array([True])).are_known
    )


def test_a_promise_holds_as_long_as_the_largest() -> None:
    promises = [NO_PROMISE, Promise(3, 14.0), Promise(9, 2.0), Promise(0, 99.0)]
    assert Promise.largest(promises) == Promise(9, 14.0)
    assert Promise.largest([Promise(0, 99.0)]) == NO_PROMISE
    assert Promise.largest([]) == NO_PROMISE


LOG = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(1, 9), st.booleans()), min_size=1, max_size=30
)


@given(LOG, st.integers(0, 30))
def test_events_that_follow_count_as_if_they_had_been_there_at_the_training(rows, border) -> None:
    ordered = sorted(rows, key=lambda row: row[1])

    def trained(part) -> ItemStarts:
        chosen = [("u", item, time) for item, time, shown in part if not shown]
        seen = [("abcdef".index(item), float(time)) for item, time, shown in part if shown]
        return ItemStarts.of(replace(dataset_of(chosen), impressions=impressions(*seen)))

    later = ordered[border:]
    followed = trained(ordered[:border]).with_events(
        ints(*("abcdef".index(item) for item, _, _ in later)),
        np.array([float(time) for _, time, _ in later]),
        np.array([shown for _, _, shown in later], np.bool_),
    )
    whole = trained(ordered)
    np.testing.assert_array_equal(np.asarray(followed.first_events), whole.first_events)
    np.testing.assert_array_equal(np.asarray(followed.impressions), whole.impressions)


def test_posted_items_have_no_event_and_are_owed() -> None:
    known = starts([0.0], [9]).with_items(2)
    assert np.asarray(known.first_events).tolist() == [0.0, np.inf, np.inf]
    assert owed(known, Promise(1), 1e9) == [1, 2]


def test_starts_are_the_same_after_saving_and_opening(tmp_path: Path) -> None:
    known = starts([4.0], [9]).with_items(1)
    save_arrays(tmp_path / "starts", known.arrays())
    opened = ItemStarts.of_arrays(open_arrays(tmp_path / "starts"))
    assert opened.first_events.tolist() == [4.0, np.inf]
    assert opened.impressions.tolist() == [9, 0]
    with pytest.raises(ArtefactError, match="impressions"):
        ItemStarts.of_arrays({"first_events": np.zeros(1)})
