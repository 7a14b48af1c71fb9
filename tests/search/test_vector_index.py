import numpy as np
import pytest
from search_world import vectors

from serendip.errors import DataError
from serendip.search.vector import VectorIndex


def test_the_nearest_come_first_with_their_cosines():
    index = VectorIndex.of(np.eye(4, dtype=np.float32))
    hits = index.search(np.array([0.6, 0.8, 0, 0], dtype=np.float32), 2)
    assert hits.item_nums.tolist() == [1, 0]
    np.testing.assert_allclose(hits.scores, [0.8, 0.6], rtol=1e-6)


def test_it_is_exact():
    rows, query = vectors(200), vectors(1)[0]
    hits = VectorIndex.of(rows).search(query, 10)
    assert hits.item_nums.tolist() == np.argsort(-(rows @ query))[:10].tolist()


def test_posted_vectors_score_as_built_ones():
    rows, query = vectors(30), vectors(31)[30]
    posted = VectorIndex.of(rows[:20]).with_vectors(rows[20:25]).with_vectors(rows[25:])
    assert len(posted) == 30
    np.testing.assert_allclose(posted.cosines(query), rows @ query, rtol=1e-5, atol=1e-7)


def test_only_allowed_items_are_answered():
    allowed = np.array([False, True, False, True])
    hits = VectorIndex.of(vectors(4)).search(vectors(4)[0], 4, allowed)
    assert sorted(hits.item_nums.tolist()) == [1, 3]


def test_what_is_not_finite_is_similar_to_nothing():
    rows = vectors(3)
    rows[1] = np.nan
    assert VectorIndex.of(rows).cosines(vectors(1)[0])[1] == 0.0


def test_vectors_of_another_size_are_refused():
    index = VectorIndex.of(vectors(4))
    with pytest.raises(DataError, match="does not fit"):
        index.cosines(np.zeros(3, dtype=np.float32))
    with pytest.raises(DataError, match="do not fit"):
        index.with_vectors(np.zeros((1, 3), dtype=np.float32))
    with pytest.raises(DataError, match="items, size"):
        VectorIndex.of(np.zeros(3, dtype=np.float32))


@pytest.mark.parametrize("k", [0, -1])
def test_no_items_are_answered_for_no_k(k):
    assert len(VectorIndex.of(vectors(4)).search(vectors(1)[0], k)) == 0
