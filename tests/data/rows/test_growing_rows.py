"""Growing rows behave as a copied array would, in every snapshot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.data.rows.growing_rows import GrowingRows, append_rows, replace_rows
from serendip.data.rows.row_array import dot_rows

STEPS = st.lists(
    st.tuples(st.booleans(), st.lists(st.integers(0, 99), min_size=1, max_size=4)), max_size=12
)


def rows_of(values) -> np.ndarray:
    return np.array([[value, value + 0.5] for value in values], np.float32).reshape(-1, 2)


@settings(deadline=None)
@given(st.integers(0, 5), STEPS)
def test_every_snapshot_equals_an_array_that_was_copied(count, steps) -> None:
    plain = rows_of(range(count))
    snapshots = [(append_rows(plain, plain[:0]), plain)]
    for is_new, values in steps:
        grown, copied = snapshots[-1]
        new = rows_of(values)
        if is_new or not len(copied):
            snapshots.append((append_rows(grown, new), np.concatenate([copied, new])))
        else:
            numbers = np.array([value % len(copied) for value in values], np.int32)
            changed = copied.copy()
            changed[numbers] = new
            snapshots.append((replace_rows(grown, numbers, new), changed))
    for grown, copied in snapshots:
        assert len(grown) == len(copied) and grown.shape == copied.shape
        np.testing.assert_array_equal(np.asarray(grown), copied)
        np.testing.assert_array_equal(grown[::-1], copied[::-1])
        np.testing.assert_array_equal(grown[copied[:, 0] > 40], copied[copied[:, 0] > 40])
        vectors = np.array([[1, 2], [0, -1]], np.float32)
        np.testing.assert_allclose(dot_rows(vectors, grown), vectors @ copied.T)
        for row in range(-len(copied), len(copied)):
            np.testing.assert_array_equal(grown[row], copied[row])


def test_two_snapshots_of_one_array_do_not_see_each_other() -> None:
    base = append_rows(rows_of([1]), rows_of([2]))
    left, right = append_rows(base, rows_of([3])), append_rows(base, rows_of([4]))
    assert np.asarray(left)[:, 0].tolist() == [1, 2, 3]
    assert np.asarray(right)[:, 0].tolist() == [1, 2, 4]
    numbers = np.array([0], np.int32)
    changed = [replace_rows(base, numbers, rows_of([value])) for value in (8, 9)]
    assert [float(rows[0, 0]) for rows in changed] == [8, 9]
    assert np.asarray(base)[:, 0].tolist() == [1, 2]


def test_it_is_read_like_an_array() -> None:
    grown = append_rows(np.array([1, 5], np.int32), np.array([3], np.int32))
    assert (grown + 1).tolist() == [2, 6, 4]
    assert (grown > 2).tolist() == [False, True, True]
    assert np.log1p(grown).shape == (3,)
    assert (grown.sum(), grown.dtype, grown.astype(np.float32).max()) == (9, np.int32, 5.0)
    assert grown[np.array([[0, 2], [-1, 1]])].tolist() == [[1, 3], [3, 5]]
    assert (np.ones(3, np.int32) @ grown) == 9


def test_rows_outside_are_an_index_error() -> None:
    grown = GrowingRows(rows_of([1])).appended(rows_of([2]))
    for key in (2, -3, np.array([0, 2])):
        with pytest.raises(IndexError):
            grown[key]
    with pytest.raises(IndexError):
        grown.replaced(np.array([2], np.int32), rows_of([1]))
