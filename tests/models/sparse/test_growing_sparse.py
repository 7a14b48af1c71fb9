"""Growing sparse rows equal a dense matrix that was copied."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.models.linalg import to_csr
from serendip.models.sparse.growing_sparse import GrowingSparse, LateRows

ROWS = st.lists(st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.5]), min_size=4, max_size=4), max_size=3)


def dense(rows) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


@settings(deadline=None)
@given(ROWS, st.lists(st.tuples(st.booleans(), ROWS), max_size=5))
def test_every_snapshot_equals_a_dense_matrix(first, steps) -> None:
    snapshots = [(GrowingSparse.of(to_csr(dense(first))), dense(first))]
    for is_new, rows in steps:
        grown, copied = snapshots[-1]
        new = dense(rows)
        if is_new or len(new) > len(copied):
            snapshots.append((grown.appended(to_csr(new)), np.concatenate([copied, new])))
        else:
            numbers = np.arange(len(copied), dtype=np.int32)[::-1][: len(new)]
            changed = copied.copy()
            changed[numbers] = new
            snapshots.append((grown.replaced(numbers, to_csr(new)), changed))
    for grown, copied in snapshots:
        assert len(grown) == len(copied)
        np.testing.assert_array_equal(grown.whole().toarray(), copied)
        order = np.arange(len(copied))[::-1]
        np.testing.assert_array_equal(grown.take(order).toarray(), copied[order])
        vector = np.array([1.0, -2.0, 0.5, 4.0], np.float32)
        np.testing.assert_array_equal(grown.dot(order, vector), copied[order] @ vector)
        column = np.array([1], np.int32)
        assert set(np.flatnonzero(copied[:, 1]).tolist()) <= set(grown.rows_with(column).tolist())


def test_late_rows_are_computed_once_when_they_are_read_and_again_after_a_change() -> None:
    base = dense([[1.0, 0.0, 0.0, 2.5], [0.0, 1.0, 0.0, 0.0]])
    asked: list[int] = []
    times = 1.0

    def compute(numbers: np.ndarray):
        asked.extend(numbers.tolist())
        return to_csr(np.outer(numbers, np.array([0.0, times, 0.0, 1.0])).astype(np.float32))

    rows = LateRows(to_csr(base)).with_new(2)
    assert rows.take(np.array([1, 0]), compute).toarray().tolist() == base[[1, 0]].tolist()
    read = np.array([3, 0, 2, 3], np.int32)
    wanted = [[0, 3, 0, 3], [1, 0, 0, 2.5], [0, 2, 0, 2], [0, 3, 0, 3]]
    for _ in range(2):
        assert rows.take(read, compute).toarray().tolist() == wanted
    assert asked == [3, 2]
    changed, times = rows.with_changed(np.array([0, 3], np.int32)), 2.0
    wanted_after = [[0, 6, 0, 3], [0, 0, 0, 0], [0, 2, 0, 2], [0, 6, 0, 3]]
    assert changed.take(read, compute).toarray().tolist() == wanted_after
    assert rows.take(read, compute).toarray().tolist() == wanted
    assert asked == [3, 2, 3, 0]


def test_late_rows_of_two_copies_are_their_own() -> None:
    rows = LateRows(to_csr(dense([[1.0, 0.0, 0.0, 0.0]])))
    one, other = rows.with_new(1), rows.with_new(1)
    number, read = np.array([1], np.int32), []
    for copy, value in ((one, 1.0), (other, 2.0), (one.with_new(1), 3.0)):
        found = copy.take(number, lambda _, value=value: to_csr(dense([[value, 0.0, 0.0, 0.0]])))
        read.append(found.toarray()[0, 0])
    assert read == [1.0, 2.0, 1.0]


def test_late_rows_are_packed_with_those_of_the_base() -> None:
    base = dense([[1.0, 0.0, 0.0, 2.5], [0.0, 1.0, 0.0, 0.0]])
    rows = LateRows(to_csr(base))

    def compute(numbers: np.ndarray):
        return to_csr(np.outer(numbers + 1, np.array([0.0, 1.0, 0.0, 0.0])).astype(np.float32))

    assert rows.packed(compute) is rows.base
    late = rows.with_new(1).with_changed(np.array([0], np.int32)).packed(compute)
    wanted = [[0, 1, 0, 0], [0, 1, 0, 0], [0, 3, 0, 0]]
    assert late.whole().toarray().tolist() == wanted
