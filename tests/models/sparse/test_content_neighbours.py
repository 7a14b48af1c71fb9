import numpy as np
import pytest

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.rows.row_array import PackedRows
from serendip.models.linalg import Sparse
from serendip.models.sparse.content_neighbours import find_content_neighbours

COUNT = 5


def draw_groups(num_items: int, seed: int = 0) -> FloatArray:
    """Unit vectors (num_items, 24) around 40 centres."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(40, 24))
    vectors = centres[random.integers(0, 40, num_items)] + 0.5 * random.normal(size=(num_items, 24))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def find_all(vectors: FloatArray, count: int = COUNT) -> Sparse:
    return find_content_neighbours(vectors, number(*range(len(vectors))), vectors, count)


def number(*numbers: int) -> IntArray:
    return np.asarray(numbers, np.int32)


def weigh_slowly(vectors: FloatArray, count: int = COUNT) -> FloatArray:
    """(N, N) weights by their definition."""
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, 0)
    cosines[cosines < np.sort(cosines, axis=1)[:, -count, None]] = 0
    weights = np.maximum(cosines, 0) ** 4
    sums = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0)


@pytest.fixture
def in_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serendip.models.sparse.content_neighbours.EXACT_COSINES", 0)


def test_weights_are_the_written_formula() -> None:
    vectors = draw_groups(60)
    np.testing.assert_allclose(find_all(vectors).toarray(), weigh_slowly(vectors), atol=1e-6)


@pytest.mark.usefixtures("in_lists")
def test_lists_hold_nearly_all_of_the_nearest_items() -> None:
    vectors = draw_groups(2_000)
    found, exact = find_all(vectors).toarray() > 0, weigh_slowly(vectors) > 0
    assert (found & exact).sum() > 0.95 * exact.sum()
    assert (found.sum(axis=1) == COUNT).all()
    assert not found.diagonal().any()


@pytest.mark.usefixtures("in_lists")
def test_without_content_there_are_no_neighbours() -> None:
    vectors = draw_groups(50)
    vectors[[3, 20]] = 0.0
    found = find_all(vectors).toarray()
    assert not found[[3, 20]].any()
    assert not found[:, [3, 20]].any()
    assert find_all(np.zeros((4, 24), np.float32)).nnz == 0


@pytest.mark.usefixtures("in_lists")
def test_items_outside_of_the_catalogue_have_neighbours_in_it() -> None:
    catalogue = draw_groups(40)
    new = catalogue[[7, 9]]
    found = find_content_neighbours(new, number(40, -1), catalogue, 1).toarray()
    assert found.argmax(axis=1).tolist() == [7, 9]
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("num_cosines", [0, 10**9])
def test_packed_rows_have_the_neighbours_of_the_numbers_that_they_hold(
    num_cosines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serendip.models.sparse.content_neighbours.EXACT_COSINES", num_cosines)
    packed = PackedRows.of(draw_groups(300))
    packed.scales[7] = 0.0  # an item without content
    allowed = np.random.default_rng(1).random(300) < 0.7
    numbers = number(*range(300))
    found = [
        find_content_neighbours(rows, numbers, rows, COUNT, allowed=allowed).toarray()
        for rows in (packed, np.asarray(packed))
    ]
    assert (found[0].sum(1) > 0).sum() == 299
    assert not found[0][:, ~allowed].any()
    np.testing.assert_allclose(*found, atol=1e-5)
