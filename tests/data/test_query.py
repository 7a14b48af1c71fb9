import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.query import History, Query


def history(times):
    numbers = np.arange(len(times), dtype=np.int32)
    return History(numbers, np.array(times, np.float64), numbers % 2 == 0)


@given(st.lists(st.integers(0, 9), max_size=12).map(sorted), st.integers(-1, 10))
def test_before_is_strict(times, time):
    found = history(times).before(time)
    assert found.timestamps.tolist() == [one for one in times if one < time]
    assert found.item_nums.tolist() == list(range(len(found)))


@given(st.lists(st.integers(0, 9), max_size=12).map(sorted), st.integers(0, 15))
def test_last_keeps_the_most_recent_oldest_first(times, count):
    found = history(times).last(count)
    kept = min(count, len(times))
    assert found.item_nums.tolist() == list(range(len(times) - kept, len(times)))
    assert found.liked.tolist() == [number % 2 == 0 for number in found.item_nums]


def test_items_alone_are_a_history_without_likes():
    found = History.of_items(np.array([3, 1]))
    assert found.item_nums.dtype == np.int32
    assert (found.timestamps.tolist(), found.liked.tolist()) == ([0, 0], [False, False])


def test_parts_of_a_history_know_which_events_were_pulled_in():
    numbers = np.array([5, 1, 9, 2], np.int32)
    found = History(numbers, np.arange(4.0), np.zeros(4, np.bool_), recalled=2)
    assert [found.last(count).recalled for count in (4, 3, 2, 1)] == [2, 1, 0, 0]
    assert [found.before(time).recalled for time in (0.5, 1.5, 9)] == [1, 2, 2]
    known = found.known(5)
    assert (known.item_nums.tolist(), known.recalled) == ([1, 2], 1)
    assert found.known(10) is found


def test_a_query_is_read_only_and_has_no_vector():
    query = Query("search", text="heat")
    assert query.text_vector is None
    assert np.isnan(query.time)
    assert not query.exclude.flags.writeable
