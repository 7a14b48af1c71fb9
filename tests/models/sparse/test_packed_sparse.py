from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.models.linalg import sum_rows, to_csr
from serendip.models.sparse.packed_sparse import PackedSparse

COLUMNS = 300_000
CELLS = st.dictionaries(
    st.tuples(st.integers(0, 4), st.integers(0, COLUMNS - 1)),
    st.floats(0.015625, 100, width=32),
    max_size=30,
)


def matrix_of(cells: dict[tuple[int, int], float]):
    rows = np.array([row for row, _ in cells], np.int32)
    columns = np.array([column for _, column in cells], np.int32)
    return to_csr((np.array(list(cells.values()), np.float32), (rows, columns)), (5, COLUMNS))


@settings(deadline=None)
@given(CELLS)
def test_all_entries_come_back(cells) -> None:
    matrix = matrix_of(cells)
    packed = PackedSparse.of(matrix)
    read = packed.whole()
    assert packed.shape == read.shape == matrix.shape
    np.testing.assert_array_equal(read.indptr, matrix.indptr)
    np.testing.assert_array_equal(read.indices, matrix.indices)
    np.testing.assert_array_equal(read.data, matrix.data)


@settings(deadline=None)
@given(CELLS, st.lists(st.integers(0, 4), max_size=6))
def test_rows_are_read_in_any_order(cells, numbers) -> None:
    packed, order = PackedSparse.of(matrix_of(cells)), np.array(numbers, np.int32)
    whole = packed.whole()
    assert (packed[order] != whole[order]).nnz == 0
    weights = np.arange(1, len(order) + 1, dtype=np.float32)
    weighted = whole[order].toarray() * weights[:, None]
    columns, sums = packed.add_rows(order, weights)
    assert columns.tolist() == np.flatnonzero(weighted.any(0)).tolist()
    np.testing.assert_allclose(sums, weighted.sum(0)[columns], rtol=1e-6)
    asked = np.array([0, 7, COLUMNS - 1], np.int32)
    read = packed.select_columns(order, weights, asked)
    np.testing.assert_array_equal(read, weighted[:, asked])
    context = to_csr((weights, (np.zeros(len(order), np.int32), order)), (1, 5))
    assert abs(sum_rows(context, packed) - context @ whole).sum() < 1e-2


def test_packing_again_changes_no_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = rng.random((40, 50)) * (rng.random((40, 50)) < 0.3)
    once = PackedSparse.of(to_csr(cells.astype(np.float32)))
    again = PackedSparse.of(once.whole())
    for name in ("gaps", "values", "starts"):
        np.testing.assert_array_equal(getattr(again, name), getattr(once, name))
    once.save(tmp_path / "once")
    opened = PackedSparse.open(tmp_path / "once")
    np.testing.assert_allclose(opened.whole().toarray(), once.whole().toarray(), rtol=2**-11)
    assert PackedSparse.of(opened) is opened and not opened.values.flags.writeable
    PackedSparse.of(opened.whole()).save(tmp_path / "again")
    twice = PackedSparse.open(tmp_path / "again")
    np.testing.assert_array_equal(twice.whole().toarray(), opened.whole().toarray())


def test_the_least_values_are_dropped_and_the_largest_cut(tmp_path: Path) -> None:
    matrix = to_csr(np.array([[1e6, 2.0**-24, 2.0**-26], [0, 0, 0]], np.float32))
    PackedSparse.of(matrix).save(tmp_path)
    packed = PackedSparse.open(tmp_path)
    assert packed.whole().toarray().tolist() == [[65_504, 2.0**-24, 0.0], [0, 0, 0]]
    assert PackedSparse.of(to_csr((2, 3))).whole().nnz == 0
