from dataclasses import replace

import numpy as np
from data_world import dataset_of
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.dataset import Dataset
from serendip.data.events.rejections import ImpressionLog, NegativeLog
from serendip.data.items.reception import DAY_S, MOST_DAYS, MOST_IMPRESSIONS, Reception, find_starts

ALWAYS, POSTED = -np.inf, np.inf


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


def bools(*values: bool) -> np.ndarray:
    return np.array(values, np.bool_)


def reception(shown: list[int], rejected: list[int]) -> Reception:
    return Reception(ints(*shown), ints(*rejected))


def new(known: Reception, counts: list[int], begins: list[float] | None = None) -> list[int]:
    times = np.full(len(counts), ALWAYS) if begins is None else np.array(begins)
    found = known.find_new(ints(*counts), np.ones(len(counts), np.bool_), times)
    return np.flatnonzero(found).tolist()


def with_log(
    data: Dataset, shown: list[tuple[int, float]], rejected: list[tuple[int, float, float]]
) -> Dataset:
    """A dataset with impressions (item, time) and negative events (item, time, until)."""
    return replace(
        data,
        impressions=ImpressionLog(
            ints(*(item for item, _ in shown)), np.array([at for _, at in shown])
        ),
        negatives=NegativeLog(
            ints(*[0] * len(rejected)),
            ints(*(item for item, _, _ in rejected)),
            np.array([at for _, at, _ in rejected]),
            np.full(len(rejected), np.nan, np.float32),
            np.full(len(rejected), 3, np.int8),
            np.array([until for _, _, until in rejected]),
        ),
    )


def test_impressions_and_rejections_that_stand_are_counted() -> None:
    data = dataset_of([("u", "a", 9), ("v", "a", 5), ("v", "b", 7)], items="abcd")
    data = with_log(
        data,
        [(1, 3.0), (0, 8.0), (1, 8.5)],
        [(2, 4.0, np.inf), (0, 4.5, 9.0), (2, 6.0, np.inf)],
    )
    found = Reception.of(data)
    assert found.impressions.tolist() == [1, 2, 0, 0]
    assert found.rejections.tolist() == [0, 0, 2, 0]  # that of the first item was taken back


def test_items_appear_with_their_time_or_first_event_and_are_new_until_they_were_seen() -> None:
    data = dataset_of(
        [("u", "a", 9), ("v", "a", 5), ("v", "b", 7)], items="abcde", available={"e": 2.0}
    )
    data = with_log(data, [(1, 3.0), (0, 8.0)], [(2, 4.0, np.inf)])
    assert find_starts(data).tolist() == [5.0, 3.0, 4.0, np.inf, 2.0]
    shown = [0, 0, 0, MOST_IMPRESSIONS - 1, MOST_IMPRESSIONS, 0]
    known = reception(shown, [0, 1, 0, 0, 0, 9])
    assert new(known, [0, 0, 1, 0, 0, 0]) == [0, 3]


def test_recent_and_posted_items_come_first() -> None:
    days = [ALWAYS, 1.0, 100.0, 100.0 - MOST_DAYS, 99.9 - MOST_DAYS]
    begins = [day * DAY_S for day in days]
    known = reception([0] * 5, [0] * 5)
    assert new(known, [0] * 5, begins) == [2, 3]
    assert new(known, [0, 0, 1, 0, 0], begins) == [3, 4]
    assert new(known, [0, 0, 1, 1, 1], begins) == [1]
    assert new(known, [0, 1, 1, 1, 1], begins) == [0]

    known = reception([0] * 4, [0] * 4)
    assert new(known, [0] * 4, [ALWAYS, ALWAYS, POSTED, POSTED]) == [2, 3]
    assert new(known, [0, 0, 1, 1], [ALWAYS, ALWAYS, POSTED, POSTED]) == [0, 1]
    assert new(known, [0] * 4, [ALWAYS, 5.0, 5.0 - 31 * DAY_S, POSTED]) == [1, 3]


LOG = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(1, 9), st.sampled_from(["shown", "no"])),
    min_size=1,
    max_size=30,
)


@given(LOG, st.integers(0, 30))
def test_events_that_follow_count_as_if_they_had_been_there_at_the_training(rows, border) -> None:
    ordered = sorted(rows, key=lambda row: row[1])
    numbers = ["abcdef".index(item) for item, _, _ in ordered]

    def trained(part: slice) -> Reception:
        kept = list(zip(numbers, ordered, strict=True))[part]
        data = dataset_of([("u", "a", 0)], items="abcdef")
        shown = [(item, float(at)) for item, (_, at, kind) in kept if kind == "shown"]
        rejected = [(item, float(at), np.inf) for item, (_, at, kind) in kept if kind == "no"]
        return Reception.of(with_log(data, shown, rejected))

    later = [kind == "shown" for _, _, kind in ordered[border:]]
    followed = trained(slice(0, border)).with_events(
        ints(*numbers[border:]), bools(*later), ~bools(*later)
    )
    whole = trained(slice(None))
    np.testing.assert_array_equal(np.asarray(followed.impressions), whole.impressions)
    np.testing.assert_array_equal(np.asarray(followed.rejections), whole.rejections)
