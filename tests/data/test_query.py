import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.query import History


def history(times):
    numbers = np.arange(len(times), dtype=np.int32)
    return History(numbers, np.array(times, np.float64), numbers % 2 == 0)


@given(st.lists(st.integers(0, 9), max_size=12).map(sorted), st.integers(-1, 10))
def test_before_is_strict(times, time):
    found = history(times).before(time)
    assert found.timestamps.tolist() == [one for one in times if one < time]
    assert found.item_nums.tolist() == list(range(len(found)))


def test_parts_of_a_history_know_which_events_were_pulled_in():
    numbers = np.array([5, 1, 9, 2], np.int32)
    found = History(numbers, np.arange(4.0), np.zeros(4, np.bool_), recalled=2)
    assert [found.last(count).recalled for count in (4, 3, 2, 1)] == [2, 1, 0, 0]
    assert [found.before(time).recalled for time in (0.5, 1.5, 9)] == [1, 2, 2]
    known = found.known(5)
    assert (known.item_nums.tolist(), known.recalled) == ([1, 2], 1)
    assert found.known(10) is found
