import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serendip.data.rows.row_array import PackedRows, dot_items, dot_rows, pack_rows

NUMBERS = st.floats(-1e3, 1e3, width=32)
ROWS = arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=NUMBERS)


@given(ROWS)
def test_a_value_is_half_a_step_away_at_most(rows: np.ndarray) -> None:
    packed = pack_rows(rows)
    steps = np.abs(rows).max(1, keepdims=True) / 127 * (1 + 2**-14)
    assert (np.abs(np.asarray(packed) - rows) <= steps / 2 + 1e-30).all()
    assert packed.shape == rows.shape and packed.dtype == np.float32


@given(ROWS)
def test_packing_again_changes_no_bit(rows: np.ndarray) -> None:
    once = PackedRows.of(rows)
    again = PackedRows.of(np.asarray(once))
    np.testing.assert_array_equal(again.values, once.values)
    np.testing.assert_array_equal(np.asarray(again), np.asarray(once))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_stays_so(bad: float) -> None:
    read = np.asarray(pack_rows(np.array([[1, bad], [1, 2]], np.float32)))
    assert np.isnan(read[0]).all() and np.isfinite(read[1]).all()


def test_it_is_read_like_an_array() -> None:
    packed = pack_rows(np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32))
    plain = np.asarray(packed)
    for key in (3, -1, slice(2, 5), np.array([[1, 0], [-1, 8]]), plain[:, 0] > 0, (slice(2), 1)):
        np.testing.assert_array_equal(packed[key], plain[key])
    vectors = np.eye(4, dtype=np.float32)[:2]
    np.testing.assert_allclose(dot_rows(vectors, packed), vectors @ plain.T, rtol=1e-6)
    some = np.array([7, 2, 2])
    np.testing.assert_allclose(dot_items(packed, some, vectors[1]), plain[some, 1], rtol=1e-6)
    assert (packed * 2 == plain * 2).all()
    with pytest.raises(IndexError, match="row 9 of 9"):
        packed[9]
