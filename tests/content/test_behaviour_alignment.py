import numpy as np

from serendip.content.behaviour_alignment import align
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import AlignedProjection
from serendip.runtime.progress import TrainOptions

NUM_ITEMS, GROUPS = 300, 10


def world(seed: int = 0) -> tuple[FloatArray, IntArray]:
    """Content of 32 columns of which 4 say what is chosen together; the rest is loud noise."""
    rng = np.random.default_rng(seed)
    group = np.arange(NUM_ITEMS) % GROUPS
    content = rng.normal(size=(NUM_ITEMS, 32)).astype(np.float32)
    content[:, :4] = 0.8 * rng.normal(size=(GROUPS, 4))[group] + 0.1 * content[:, :4]
    content /= np.linalg.norm(content, axis=1, keepdims=True)
    left = rng.integers(0, NUM_ITEMS, 6_000)
    right = (left + GROUPS * rng.integers(1, NUM_ITEMS // GROUPS, 6_000)) % NUM_ITEMS
    return content, np.stack([left, right], axis=1).astype(np.int32)


def shared_group(vectors: FloatArray, rows: slice) -> float:
    """Share of the ten nearest items that belong to the group of their item."""
    scores = vectors[rows] @ vectors.T
    own = np.arange(NUM_ITEMS)[rows]
    scores[np.arange(len(own)), own] = -np.inf
    nearest = np.argsort(-scores, axis=1)[:, :10]
    return float((nearest % GROUPS == (own % GROUPS)[:, None]).mean())


def test_items_chosen_together_become_neighbours_even_those_never_chosen() -> None:
    content, pairs = world()
    fresh = slice(240, NUM_ITEMS)
    seen = pairs[(pairs < fresh.start).all(1)]
    aligned = align(content, seen).encode(content)
    np.testing.assert_allclose(np.linalg.norm(aligned, axis=1), 1, rtol=1e-5)
    for rows in (slice(0, 240), fresh):
        before, after = (shared_group(vectors, rows) for vectors in (content, aligned))
        assert after > 1.5 * before, (before, after)


def test_the_seed_and_enough_behaviour_decide_everything() -> None:
    content, pairs = world()
    first, second, other = (align(content, pairs, TrainOptions(seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.up, second.up)
    assert np.array_equal(first.down, second.down)
    assert not np.array_equal(first.up, other.up)
    content, pairs = world()
    np.testing.assert_allclose(align(content, pairs[:50]).encode(content), content, atol=1e-6)
    assert isinstance(align(content, np.empty((0, 2), np.int32)), AlignedProjection)
