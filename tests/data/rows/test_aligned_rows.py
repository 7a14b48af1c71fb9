import numpy as np
import pytest

from serendip.data.dataset import AlignedProjection
from serendip.data.rows.aligned_rows import AlignedRows
from serendip.data.rows.row_array import dot_items, dot_rows, pack_rows
from serendip.testing import draw_unit_vectors

RANDOM = np.random.default_rng(3)
PROJECTION = AlignedProjection(
    RANDOM.normal(size=(16, 4)).astype(np.float32), RANDOM.normal(size=(4, 16)).astype(np.float32)
)


@pytest.fixture
def rows() -> AlignedRows:
    content = draw_unit_vectors(np.random.default_rng(1), 7)
    content[4] = 0
    return AlignedRows.of(PROJECTION, pack_rows(content))


def expected(rows: AlignedRows) -> np.ndarray:
    return PROJECTION.encode(np.asarray(rows.content))


def test_they_are_the_unit_vectors_of_the_projection_also_of_new_content(rows: AlignedRows) -> None:
    np.testing.assert_allclose(np.asarray(rows), expected(rows), rtol=0, atol=1e-6)
    assert rows.shape == (7, 16) and not rows[4].any()
    some = np.array([[2, -1], [0, 2]])
    np.testing.assert_allclose(rows[some], expected(rows)[some], rtol=0, atol=1e-6)

    vectors = np.random.default_rng(2).normal(size=(3, 16)).astype(np.float32)
    products = vectors @ expected(rows).T
    np.testing.assert_allclose(dot_rows(vectors, rows), products, rtol=0, atol=1e-5)
    some = np.array([6, 0, 6])
    np.testing.assert_allclose(dot_items(rows, some, vectors[1]), products[1][some], atol=1e-5)

    new = draw_unit_vectors(np.random.default_rng(5), 2)
    grown = rows.put(np.array([7, 8]), new).put(np.array([4, 8]), new[::-1])
    assert len(grown) == 9 and len(rows) == 7 and not rows[4].any()
    np.testing.assert_allclose(np.asarray(grown), expected(grown), rtol=0, atol=1e-6)
    np.testing.assert_allclose(grown[[4, 8, 7]], PROJECTION.encode(new[[1, 0, 0]]), atol=0.02)
