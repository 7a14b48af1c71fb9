import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.models.linalg import to_csr
from serendip.models.sparse.packed_sparse import LateSparse

ROWS = st.lists(st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.5]), min_size=4, max_size=4), max_size=3)


def dense(rows) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


@settings(deadline=None)
@given(ROWS, st.lists(st.tuples(st.integers(0, 3), ROWS), max_size=5))
def test_every_copy_equals_a_dense_matrix(first, steps) -> None:
    copies = [(LateSparse.of(to_csr(dense(first))), dense(first))]
    for back, rows in steps:
        late, copied = copies[-1]
        new = dense(rows)
        numbers = np.arange(len(new), dtype=np.int32) + max(len(copied) - back, 0)
        changed = np.concatenate([copied, np.zeros_like(new)])
        changed[numbers] = new
        changed = changed[: max(len(copied), *(numbers + 1), 0)]
        copies.append((late.put(numbers, to_csr(new)), changed))
    for late, copied in copies:
        np.testing.assert_array_equal(late.whole().toarray(), copied)
        order = np.arange(len(copied))[::-1]
        np.testing.assert_array_equal(late.take(order).toarray(), copied[order])
        vector = np.array([1.0, -2.0, 0.5, 4.0], np.float32)
        np.testing.assert_array_equal(late.dot(order, vector), copied[order] @ vector)
