import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serendip.data.arrays import FloatArray
from serendip.models.linalg import keep_top_entries, multiply_top, split_rows, to_csr

matrices = arrays(np.float32, (5, 7), elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]))


def keep_slowly(values: FloatArray, count: int) -> FloatArray:
    """Sorted values (M, count) of the largest positive entries of each row, zeros first."""
    return np.maximum(np.sort(values, axis=1)[:, -count:], 0)


@given(matrices, st.integers(1, 9))
def test_the_largest_positive_entries_of_each_row_stay_where_they_are(
    values: FloatArray, count: int
) -> None:
    kept = keep_top_entries(to_csr(values), count)
    dense = kept.toarray()
    np.testing.assert_array_equal(keep_slowly(dense, count), keep_slowly(values, count))
    np.testing.assert_array_equal(dense[dense != 0], values[dense != 0])
    assert (np.count_nonzero(dense, axis=1) <= count).all()
    assert kept.has_sorted_indices
    assert (kept.data > 0).all()


@given(matrices, matrices, st.integers(1, 9))
def test_a_product_with_pruning_is_the_pruned_product(
    left: FloatArray, right: FloatArray, count: int
) -> None:
    kept = multiply_top(to_csr(left), to_csr(right.T), count)
    product = left @ right.T  # exact: entries are small binary fractions
    dense = kept.toarray()
    np.testing.assert_array_equal(keep_slowly(dense, count), keep_slowly(product, count))
    np.testing.assert_array_equal(dense[dense != 0], product[dense != 0])
    assert kept.has_sorted_indices


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([3], [(0, 1)]),
        ([1, 1, 1, 1, 1], [(0, 2), (2, 4), (4, 5)]),
        ([0, 0, 2, 0, 1], [(0, 4), (4, 5)]),
        ([9, 1, 1, 9], [(0, 1), (1, 3), (3, 4)]),
    ],
)
def test_rows_are_split_into_blocks_of_at_most_two_unless_one_is_larger(
    sizes: list[int], expected: list[tuple[int, int]]
) -> None:
    blocks = split_rows(np.asarray(sizes, np.int64), 2)
    assert [(block.start, block.stop) for block in blocks] == expected
