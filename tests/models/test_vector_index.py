import numpy as np

from serendip.data.arrays import NO_ITEMS
from serendip.models.vector_index import VectorIndex


def test_an_index_with_no_late_item_or_with_one_twice() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(50, 6)).astype(np.float32)
    index = VectorIndex.build(lambda rows: vectors[rows], 50, vectors[:8])
    same = index.with_late(NO_ITEMS, np.empty((0, 6), np.float32))
    assert (len(same.late_items), len(same.late_vectors)) == (0, 0)
    twice = same.with_late(np.array([7, 3, 7], np.int32), vectors[:3])
    assert twice.late_items.tolist() == [3, 7]
    np.testing.assert_array_equal(twice.late_vectors, vectors[1:3] @ index.item_map)
    assert twice.with_late(NO_ITEMS, vectors[:0]).late_items.tolist() == [3, 7]
