import numpy as np
import pytest

from serendip.data import Codebooks
from serendip.data.items.semantic_ids import first_codes
from serendip.errors import DataError

BOOKS = Codebooks(np.array([[[0, 0], [10, 0]], [[0, 1], [0, -1]]], dtype=np.float32))


def test_codes_are_the_nearest_centroids_and_the_first_is_the_category():
    vectors = np.array([[9, 2], [1, -3], [0, 1]], np.float32)
    codes = BOOKS.assign(vectors)
    assert codes.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert codes.dtype == np.int32
    assert vectors.tolist() == [[9, 2], [1, -3], [0, 1]]
    assert (BOOKS.num_levels, BOOKS.codebook_size) == (2, 2)

    with pytest.raises(DataError, match=r"\(1, 3\) do not fit codebooks of size 2"):
        BOOKS.assign(np.zeros((1, 3), np.float32))
    with pytest.raises(DataError, match="not finite"):
        BOOKS.assign(np.array([[0, np.nan]], np.float32))
    assert first_codes(np.array([[3, 1], [0, 2]], np.int32)).tolist() == [3, 0]
    assert first_codes(np.empty((2, 0), np.int32)).tolist() == [0, 0]
    assert first_codes(np.empty((0, 2), np.int32)).tolist() == []


def test_more_vectors_than_one_block_are_coded_like_one_by_one():
    vectors = np.random.default_rng(0).normal(size=(2_500, 2)).astype(np.float32) * 8
    codes = BOOKS.assign(vectors)
    residual = vectors
    for level, centroids in enumerate(BOOKS.centroids):
        nearest = ((residual[:, None] - centroids) ** 2).sum(-1).argmin(1)
        np.testing.assert_array_equal(codes[:, level], nearest)
        residual = residual - centroids[nearest]
