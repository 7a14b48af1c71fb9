from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.data import AllowedItems, BoolArray, FloatArray, ItemSet
from serendip.models.vector_index import ApproximateIndex


def clustered(count: int, size: int = 8, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, size))
    noise = rng.normal(size=(count, size))
    return np.asarray(centres[rng.integers(0, 20, count)] + 0.3 * noise, np.float32)


ITEMS, FEW, QUERIES = clustered(40_000), clustered(3_000), clustered(60, seed=1)


@pytest.fixture(scope="module")
def lists() -> ApproximateIndex:
    return ApproximateIndex.build(ITEMS, QUERIES[:30])


def true_best(
    query: FloatArray, k: int, allowed: np.ndarray, vectors: FloatArray = ITEMS
) -> set[int]:
    numbers = np.flatnonzero(allowed)
    scores = vectors[numbers] @ query
    return set(numbers[np.argsort(-scores, kind="stable")[:k]].tolist())


def hits(index: ApproximateIndex, queries: FloatArray, allowed: BoolArray, k: int = 10) -> float:
    """Mean number of the k best allowed items that are found; there are always k, if allowed."""
    counts = []
    for query in queries:
        items, scores = index.search(query, k, AllowedItems(ItemSet(allowed)))
        assert allowed[items].all()
        assert len(items) == min(k, allowed.sum())
        np.testing.assert_allclose(scores, index.vectors[items] @ query, rtol=1e-4)
        best = true_best(query, k, allowed, index.vectors)  # as they are stored
        counts.append(len(best & set(items.tolist())))
    return float(np.mean(counts))


@settings(max_examples=30)
@given(st.integers(1, 50), st.floats(0, 1), st.integers(0, 99))
def test_a_small_catalogue_is_searched_exactly(k: int, share: float, seed: int) -> None:
    index = ApproximateIndex.build(FEW, QUERIES)
    allowed = np.random.default_rng(seed).random(len(FEW)) < share
    assert hits(index, QUERIES[:1], allowed, k) == min(k, allowed.sum())


def test_enough_lists_are_read_and_a_saved_index_answers_the_same(
    lists: ApproximateIndex, tmp_path: Path
) -> None:
    assert hits(lists, QUERIES[30:], np.ones(len(ITEMS), np.bool_)) >= 9
    assert 1 <= lists.num_probes <= lists._lists.nlist

    lists.save(tmp_path / "index")
    opened = ApproximateIndex.open(tmp_path / "index")
    assert opened.num_probes == lists.num_probes
    for query in QUERIES:
        np.testing.assert_array_equal(lists.search(query, 10)[0], opened.search(query, 10)[0])


@pytest.mark.parametrize("share", [0.5, 0.2, 0.02, 0.001, 0.0])
def test_a_filter_never_costs_results(lists: ApproximateIndex, share: float) -> None:
    allowed = np.random.default_rng(5).random(len(ITEMS)) < share
    assert hits(lists, QUERIES, allowed) >= 0.95 * min(10, allowed.sum())


@pytest.mark.parametrize("share", [1.0, 0.3, 0.01])
def test_a_few_more_items_may_be_left_out(lists: ApproximateIndex, share: float) -> None:
    rng = np.random.default_rng(6)
    # Items that were added later are in the set, but not in the index.
    mask = np.append(rng.random(len(ITEMS)) < share, np.ones(20, np.bool_))
    shared = ItemSet(mask)
    for query in QUERIES[30:40]:
        best = np.array(sorted(true_best(query, 8, mask[: len(ITEMS)])), np.int32)
        allowed = AllowedItems(shared).without(best[::2])
        found, _ = lists.search(query, 4, allowed)
        assert len(found) == 4
        assert allowed.admits(found).all()
        assert set(best[1::2].tolist()) & set(found.tolist())


def test_vectors_beside_lists_have_eight_bits_and_are_mapped(
    lists: ApproximateIndex, tmp_path: Path
) -> None:
    step = np.abs(ITEMS).max() / 127
    np.testing.assert_allclose(np.asarray(lists.vectors), ITEMS, rtol=0, atol=step)
    lists.save(tmp_path)
    opened = ApproximateIndex.open(tmp_path)
    some = np.array([[7, 0], [-1, 7]])
    np.testing.assert_array_equal(opened.vectors[some], lists.vectors[some])
    packed: Any = opened.vectors
    assert not packed.values.flags.writeable
    # 8 and 4 bits per dimension, and per item an 8-byte number and a scale, besides the centroids.
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size < len(ITEMS) * (8 + 4 + 8 + 4) + 40_000
