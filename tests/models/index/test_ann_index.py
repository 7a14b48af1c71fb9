from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.items.allowed_items import AllowedItems, ItemSet
from serendip.errors import ArtefactError, DataError
from serendip.models.index.ann_index import ApproximateIndex, ApproximateIndexConfig

EXACT = ApproximateIndexConfig(exact_up_to=10_000)
LISTS = ApproximateIndexConfig(exact_up_to=100, recall=0.95, k=10)


def clustered(count: int, size: int = 8, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, size))
    noise = rng.normal(size=(count, size))
    return np.asarray(centres[rng.integers(0, 20, count)] + 0.3 * noise, np.float32)


ITEMS, QUERIES = clustered(3_000), clustered(60, seed=1)


@pytest.fixture(scope="module")
def lists() -> ApproximateIndex:
    return ApproximateIndex.build(ITEMS, QUERIES[:30], LISTS)


def only(mask: BoolArray) -> AllowedItems:
    return AllowedItems(ItemSet(mask))


def true_best(query: FloatArray, k: int, allowed: np.ndarray) -> list[int]:
    numbers = np.flatnonzero(allowed)
    scores = ITEMS[numbers] @ query
    return numbers[np.argsort(-scores, kind="stable")[:k]].tolist()


@settings(max_examples=30)
@given(st.integers(1, 50), st.floats(0, 1), st.integers(0, 99))
def test_a_small_catalogue_is_searched_exactly(k: int, share: float, seed: int) -> None:
    index = ApproximateIndex.build(ITEMS, QUERIES, EXACT)
    allowed = np.random.default_rng(seed).random(len(ITEMS)) < share
    (found,) = index.search(QUERIES[:1], k, only(allowed))
    assert found.item_nums.tolist() == true_best(QUERIES[0], k, allowed)
    np.testing.assert_allclose(found.scores, ITEMS[found.item_nums] @ QUERIES[0], rtol=1e-5)


def test_enough_lists_are_read_for_the_recall(lists: ApproximateIndex) -> None:
    everything = np.ones(len(ITEMS), np.bool_)
    found = lists.search(QUERIES[30:], 10)
    hits = [
        len(set(true_best(query, 10, everything)) & set(answer.item_nums.tolist()))
        for query, answer in zip(QUERIES[30:], found, strict=True)
    ]
    assert np.mean(hits) >= 9
    assert 1 <= lists.num_probes < lists._lists.nlist


def test_scores_are_dot_products_and_fall(lists: ApproximateIndex) -> None:
    for query, answer in zip(QUERIES, lists.search(QUERIES, 10), strict=True):
        stored = lists.vectors[answer.item_nums]
        np.testing.assert_allclose(answer.scores, stored @ query, rtol=1e-4)
        assert (np.diff(answer.scores) <= 0).all()


@pytest.mark.parametrize("share", [0.5, 0.2, 0.02, 0.001])
def test_a_filter_never_costs_results(lists: ApproximateIndex, share: float) -> None:
    allowed = np.random.default_rng(5).random(len(ITEMS)) < share
    hits = 0
    for query, answer in zip(QUERIES, lists.search(QUERIES, 10, only(allowed)), strict=True):
        assert allowed[answer.item_nums].all()
        assert len(answer) == min(10, allowed.sum())
        hits += len(set(true_best(query, 10, allowed)) & set(answer.item_nums.tolist()))
    assert hits >= 0.95 * len(QUERIES) * min(10, allowed.sum())


def test_a_filter_far_away_from_the_query_still_fills_the_list(lists: ApproximateIndex) -> None:
    allowed = np.zeros(len(ITEMS), np.bool_)
    allowed[np.argsort(ITEMS @ QUERIES[0])[:200]] = True  # More than are compared one by one.
    (found,) = lists.search(QUERIES[:1], 150, only(allowed))
    numbers = np.flatnonzero(allowed)
    products = lists.vectors[numbers] @ QUERIES[0]  # of the vectors as they are stored
    best = numbers[np.argsort(-products, kind="stable")[:150]]
    assert found.item_nums.tolist() == best.tolist()


@pytest.mark.parametrize("config", [EXACT, LISTS])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.01])
def test_a_few_more_items_may_be_left_out(config: ApproximateIndexConfig, share: float) -> None:
    index = ApproximateIndex.build(ITEMS, QUERIES[:30], config)
    rng = np.random.default_rng(6)
    # Items that were added later are in the set, but not in the index.
    mask = np.append(rng.random(len(ITEMS)) < share, np.ones(20, np.bool_))
    shared = ItemSet(mask)
    for query in QUERIES[30:40]:
        best = np.array(true_best(query, 8, mask[: len(ITEMS)]), np.int32)
        allowed = AllowedItems(shared).without(best[::2])
        (found,) = index.search(query[None], 4, allowed)
        assert len(found) == 4
        assert allowed.admits(found.item_nums).all()
        assert set(best[1::2].tolist()) & set(found.item_nums.tolist())


def test_nothing_allowed_finds_nothing(lists: ApproximateIndex) -> None:
    nothing = only(np.zeros(len(ITEMS), np.bool_))
    assert [len(one) for one in lists.search(QUERIES[:2], 5, nothing)] == [0, 0]


@pytest.mark.parametrize("config", [EXACT, LISTS])
def test_a_saved_index_answers_the_same(config: ApproximateIndexConfig, tmp_path: Path) -> None:
    index = ApproximateIndex.build(ITEMS, QUERIES, config)
    index.save(tmp_path / "index")
    opened = ApproximateIndex.open(tmp_path / "index")
    assert (opened.config, opened.num_probes) == (index.config, index.num_probes)
    for own, other in zip(index.search(QUERIES, 10), opened.search(QUERIES, 10), strict=True):
        assert np.array_equal(own.item_nums, other.item_nums)


def test_wrong_input_is_named(lists: ApproximateIndex, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="k = 0"):
        lists.search(QUERIES, 0)
    with pytest.raises(DataError, match="of size 8"):
        lists.search(QUERIES[:, :4], 3)
    with pytest.raises(DataError, match="allowed items are of 3 and the index has 3000"):
        lists.search(QUERIES, 3, AllowedItems.all(3))
    with pytest.raises(DataError, match="queries have shape"):
        ApproximateIndex.build(ITEMS, QUERIES[:0])
    with pytest.raises(ArtefactError, match="no readable approximate index"):
        ApproximateIndex.open(tmp_path)


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
    assert opened.search(QUERIES[:3], 10)[1].item_nums.tolist() == (
        lists.search(QUERIES[:3], 10)[1].item_nums.tolist()
    )
