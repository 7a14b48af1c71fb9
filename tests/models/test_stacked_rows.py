"""Rows of sparse blocks, one block after the other."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.models.linalg import stack_rows, to_csr


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 10_000))
def test_stacked_blocks_are_their_rows_one_after_the_other(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = [rng.integers(0, 2, (size, 7)).astype(np.float32) for size in sizes]
    stacked = stack_rows((to_csr(block) for block in blocks), 7)
    assert stacked.shape == (sum(sizes), 7) and stacked.indptr.dtype == np.int32
    np.testing.assert_array_equal(stacked.toarray(), np.concatenate([np.empty((0, 7)), *blocks]))
