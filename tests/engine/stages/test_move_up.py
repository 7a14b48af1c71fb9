import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.engine.stages.base import FIRST
from serendip.engine.stages.list_filters import move_up

NONE = np.zeros(20, np.bool_)
ALL = np.ones(20, np.bool_)


def probabilities(**changed: float) -> np.ndarray:
    """Twenty rows of .3 but for those that are named by their number."""
    values = np.full(20, 0.3, np.float32)
    for name, value in changed.items():
        values[int(name[1:])] = value
    return values


def test_the_surest_rows_of_the_whole_list_take_the_free_places() -> None:
    values = probabilities(r2=0.9, r5=0.8, r12=0.25, r17=0.1, r19=0.2)
    order = move_up(values < 0.5, values, ALL, NONE)
    assert order.tolist() == [0, 1, 3, 4, 6, 7, 8, 9, 17, 19, *range(10, 17), 18]

    is_organic = ALL.copy()
    is_organic[[3, 18]] = False
    values = probabilities(r3=0.9, r7=0.9, r18=0.01, r19=0.2)
    order = move_up(values < 0.5, values, is_organic, NONE)
    assert order.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10, 19, *range(11, 19)]
    values = probabilities(r2=0.9, r5=0.49, r11=0.001)
    order = move_up(values < 0.5, values, ALL, NONE, 5)
    assert order.tolist() == [0, 1, 3, 4, 11, 5, 6, 7, 8, 9, 10, *range(12, 20)]


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), st.floats(0.01, 1))
def test_every_row_that_stays_has_one_place_and_what_moves_up_is_better(rows, threshold) -> None:
    values = np.array(rows, np.float32)
    organic, pinned = np.ones(len(values), np.bool_), np.zeros(len(values), np.bool_)
    order = move_up(values < threshold, values, organic, pinned).tolist()
    assert sorted(order) == np.flatnonzero(values < threshold).tolist()
    up = [row for row in order[:FIRST] if row >= FIRST]
    left = [row for row in range(min(FIRST, len(values))) if values[row] >= threshold]
    assert len(up) == min(len(left), sum(row >= FIRST for row in order))
    behind = [row for row in order[FIRST:] if row >= FIRST]
    if up:
        assert max(values[up]) < min(values[left])
        assert max(values[up]) <= min(values[behind], default=1)
