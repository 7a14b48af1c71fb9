import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.data.rows.row_array import LateRows, dot_items, dot_rows, late_numbers, put_rows

STEPS = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=4), max_size=12)


def rows_of(values) -> np.ndarray:
    return np.array([[value, value + 0.5] for value in values], np.float32).reshape(-1, 2)


@settings(deadline=None)
@given(st.integers(0, 5), STEPS)
def test_every_copy_equals_an_array_that_was_copied(count, steps) -> None:
    plain = rows_of(range(count))
    copies = [(put_rows(plain, np.empty(0, np.int32), plain[:0]), plain)]
    for values in steps:
        late, copied = copies[-1]
        new = rows_of(values)
        size = len(copied) + 1
        numbers = np.array([value % size for value in values], np.int32)
        changed = np.concatenate([copied, new[:1]]) if size - 1 in numbers else copied.copy()
        changed[numbers] = new
        copies.append((put_rows(late, numbers, new), changed))
    for late, copied in copies:
        assert len(late) == len(copied) and late.shape == copied.shape
        np.testing.assert_array_equal(np.asarray(late), copied)
        np.testing.assert_array_equal(late[::-1], copied[::-1])
        np.testing.assert_array_equal(late[copied[:, 0] > 40], copied[copied[:, 0] > 40])
        vectors = np.array([[1, 2], [0, -1]], np.float32)
        np.testing.assert_allclose(dot_rows(vectors, late), vectors @ copied.T)
        some = np.arange(len(copied))[::-2]
        np.testing.assert_allclose(dot_items(late, some, vectors[0]), copied[some] @ vectors[0])
        for row in range(-len(copied), len(copied)):
            np.testing.assert_array_equal(late[row], copied[row])


def test_it_is_read_like_an_array() -> None:
    late = put_rows(np.array([1, 5], np.int32), np.array([2]), np.array([3], np.int32))
    assert (late + 1).tolist() == [2, 6, 4]
    assert (late > 2).tolist() == [False, True, True]
    assert np.log1p(late).shape == (3,)
    assert (late.sum(), late.dtype, late.astype(np.float32).max()) == (9, np.int32, 5.0)
    assert late[np.array([[0, 2], [-1, 1]])].tolist() == [[1, 3], [3, 5]]
    assert (np.ones(3, np.int32) @ late) == 9
    assert late_numbers(late).tolist() == [2] and not len(late_numbers(np.ones(3)))

    late = LateRows(rows_of([1])).put(np.array([1]), rows_of([2]))
    for key in (2, -3, np.array([0, 2])):
        with pytest.raises(IndexError):
            late[key]
    for numbers in ([3], [-1], [3, 4]):
        with pytest.raises(IndexError, match="of 2 rows"):
            late.put(np.array(numbers), rows_of(numbers))
