"""Growing sparse rows equal a dense matrix that was copied."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.models.linalg import to_csr
from serendip.models.sparse.growing_sparse import GrowingSparse

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
