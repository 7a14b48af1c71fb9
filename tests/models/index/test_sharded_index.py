from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.items.allowed_items import AllowedItems, ItemSet
from serendip.errors import ArtefactError, DataError, StorageError
from serendip.models.index import sharded_index
from serendip.models.index.ann_index import (
    ApproximateIndex,
    ApproximateIndexConfig,
    FoundItems,
    SearchPlan,
    open_vectors,
    take_best,
)
from serendip.models.index.remote_shard import digest_of, read_set
from serendip.models.index.sharded_index import LocalShard, ShardedIndex, watch_shards


def build(folder: Path, vectors: FloatArray) -> Path:
    """A stored index with lists."""
    random = np.random.default_rng(3)
    config = ApproximateIndexConfig(exact_up_to=100)
    queries = random.normal(size=(20, vectors.shape[1])).astype(np.float32)
    ApproximateIndex.build(vectors, queries, config).save(folder)
    return folder


def in_shards(folder: Path, parts: int) -> ShardedIndex:
    shards = [LocalShard.open(folder, part, parts) for part in range(parts)]
    return ShardedIndex(*open_vectors(folder), shards, 60.0)


def draw_allowed(random: np.random.Generator, share: float | None) -> AllowedItems | None:
    """A share of the items; a few of the set are newer than the index, and a few left out."""
    if share is None:
        return None
    shown = AllowedItems(ItemSet(random.random(NUM_ITEMS + 30) < share))
    return shown.without(random.integers(0, NUM_ITEMS, 12).astype(np.int32))


NUM_ITEMS = 2_400


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Items in clusters, by the order of their numbers, and many with the vector of another."""
    random = np.random.default_rng(4)
    near = np.repeat(random.normal(size=(12, 16)), NUM_ITEMS // 12, axis=0)
    vectors = near + 0.4 * random.normal(size=near.shape)
    copies = random.integers(0, NUM_ITEMS, NUM_ITEMS // 3)
    vectors[random.permutation(NUM_ITEMS)[: len(copies)]] = vectors[copies]
    folder = tmp_path_factory.mktemp("repeated")
    return build(folder, vectors.astype(np.float32))


@settings(deadline=None, max_examples=60)
@given(
    parts=st.integers(1, 7),
    k=st.integers(1, 300),
    seed=st.integers(0, 999),
    share=st.sampled_from([None, 0.0, 0.02, 0.5, 1.0]),
)
def test_shards_find_what_one_index_finds(
    repeated: Path, parts: int, k: int, seed: int, share: float | None
) -> None:
    random = np.random.default_rng(seed)
    query, allowed = random.normal(size=16).astype(np.float32), draw_allowed(random, share)
    expected = ApproximateIndex.open(repeated).nearest(query, k, allowed)
    found = in_shards(repeated, parts).nearest(query, k, allowed)
    assert found.tolist() == expected.tolist()


def test_each_number_is_rounded_as_in_the_whole(repeated: Path) -> None:
    query = np.random.default_rng(8).normal(size=16).astype(np.float32)
    whole = ApproximateIndex.open(repeated)
    parts = [LocalShard.open(repeated, part, 3) for part in range(3)]
    for allowed in (None, draw_allowed(np.random.default_rng(1), 0.03)):
        plan = SearchPlan.of(whole.config, NUM_ITEMS, 50, allowed, has_lists=True)
        assert bool(plan.pool) == (allowed is None)
        found = FoundItems.of([part.propose(query, plan, allowed) for part in parts])
        closeness = dict(zip(found.items.tolist(), found.closeness.tolist(), strict=True))
        expected = whole.propose(query, plan, allowed)
        for item, close in zip(expected.items.tolist(), expected.closeness.tolist(), strict=True):
            assert closeness[item] == close
    items = np.array([0, 7, 795], np.int32)  # of the first part
    assert parts[0].score(query, items).tobytes() == whole.score(query, items).tobytes()
    with pytest.raises(DataError, match="an item is not among items 0 to 799"):
        parts[0].score(query, items + 10)
    with pytest.raises(DataError, match="vectors of size 16"):
        parts[0].score(query[1:], items)


class CountingShard:
    """A shard that counts what it is asked."""

    def __init__(self, shard: LocalShard) -> None:
        self.name, self._shard = shard.name, shard
        self.pools: list[int] = []
        self.unscored = 0

    def start(
        self, query: FloatArray, plan: SearchPlan, allowed: AllowedItems | None, end: float
    ) -> Callable[[], FoundItems]:
        self.pools.append(plan.pool)
        return self._shard.start(query, plan, allowed, end)

    def start_scores(
        self, query: FloatArray, items: IntArray, end: float
    ) -> Callable[[], FloatArray]:
        self.unscored += len(items)
        return self._shard.start_scores(query, items, end)


@pytest.mark.parametrize("times", [1, sharded_index._SCORED])
def test_shards_are_asked_once_unless_one_has_much_more_than_its_share(
    repeated: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(sharded_index, "_SCORED", times)
    shards = [CountingShard(LocalShard.open(repeated, part, 4)) for part in range(4)]
    index = ShardedIndex(*open_vectors(repeated), shards, 60.0)
    whole, random = ApproximateIndex.open(repeated), np.random.default_rng(5)
    asked = again = 0
    for query in random.normal(size=(20, 16)).astype(np.float32):  # near no cluster
        plan = SearchPlan.of(index.config, NUM_ITEMS, 10, None, has_lists=True)
        proposed = whole.propose(query, plan, None).items
        most = np.bincount(proposed // (NUM_ITEMS // 4), minlength=4)
        for shard in shards:
            shard.unscored = 0
        assert index.nearest(query, 10, None).tolist() == whole.nearest(query, 10, None).tolist()
        scored = math.ceil(times * plan.pool / 4)
        expected = np.maximum(most - scored, 0)  # ties at the border have a product, or none
        assert (np.abs([shard.unscored for shard in shards] - expected) <= 8).all()
        asked, again = asked + 4, again + int((expected > 0).sum())
    assert 0 < again < asked if times == 1 else not again


def test_only_a_shard_with_more_than_it_was_asked_for_is_asked_again(
    repeated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharded_index, "_SHARES", 1)
    shards = [CountingShard(LocalShard.open(repeated, part, 6)) for part in range(6)]
    index = ShardedIndex(*open_vectors(repeated), shards, 60.0)
    query = np.asarray(index.vectors[NUM_ITEMS - 1])  # its cluster has the last numbers
    whole = ApproximateIndex.open(repeated)
    assert index.nearest(query, 10, None).tolist() == whole.nearest(query, 10, None).tolist()
    pool = SearchPlan.of(index.config, NUM_ITEMS, 10, None, has_lists=True).pool
    assert {shard.pools[0] for shard in shards} == {math.ceil(pool / 6)}
    assert shards[5].pools[1:] == [pool]
    assert 6 < sum(len(shard.pools) for shard in shards) < 12


def test_an_index_without_lists_has_no_shards(tmp_path: Path) -> None:
    ApproximateIndex.build(np.eye(8, dtype=np.float32), np.ones((1, 8), np.float32)).save(tmp_path)
    with pytest.raises(ArtefactError, match="has no lists"):
        LocalShard.open(tmp_path, 0, 2)


class SlowShard:
    """A shard that answers when it is let."""

    name = "slow:1"

    def __init__(self) -> None:
        self.may_answer, self.asked = False, 0

    def start(
        self, query: FloatArray, plan: SearchPlan, allowed: AllowedItems | None, end: float
    ) -> Callable[[], FoundItems]:
        self.asked += 1
        return lambda: FoundItems(np.array([9_999], np.int32), self._high())

    def start_scores(
        self, query: FloatArray, items: IntArray, end: float
    ) -> Callable[[], FloatArray]:
        return self._high

    def _high(self) -> FloatArray:
        if not self.may_answer:
            raise StorageError("shard slow:1 does not answer: it is late.")
        return np.array([1e9], np.float32)


def test_a_late_shard_is_left_out_and_told_and_not_asked_for_a_while(
    repeated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharded_index, "RETRY_S", 60.0)
    slow, query, half = SlowShard(), np.ones(16, np.float32), LocalShard.open(repeated, 0, 2)
    index = ShardedIndex(*open_vectors(repeated), [half, slow], 60.0)
    plan = SearchPlan.of(index.config, NUM_ITEMS, 5, None, has_lists=True)
    proposed = half.propose(query, plan, None).items
    expected = take_best(proposed, half.score(query, proposed), 5)[0]
    for _ in range(3):
        with watch_shards() as missing:
            assert index.nearest(query, 5, None).tolist() == expected.tolist()
        assert missing == {"slow:1"}
    assert slow.asked == 1
    slow.may_answer = True
    monkeypatch.setattr(sharded_index, "RETRY_S", 0.0)
    index._retry_at.clear()
    with watch_shards() as missing:
        assert 9_999 in index.nearest(query, 5, None)
    assert missing == set()


class HangingShard(SlowShard):
    """A shard that says nothing until the time is over."""

    def start(
        self, query: FloatArray, plan: SearchPlan, allowed: AllowedItems | None, end: float
    ) -> Callable[[], FoundItems]:
        self.asked += 1

        def wait() -> FoundItems:
            threading.Event().wait(max(0.0, end - time.monotonic()))
            raise StorageError("shard slow:1 does not answer: it is late.")

        return wait


class PunctualShard(CountingShard):
    """A shard that answers at once, unless it is asked when the time is over."""

    scores = True

    def start_scores(
        self, query: FloatArray, items: IntArray, end: float
    ) -> Callable[[], FloatArray]:
        if not self.scores or time.monotonic() >= end:
            return SlowShard()._high
        return super().start_scores(query, items, end)


def test_a_shard_that_hangs_takes_no_other_with_it(repeated: Path) -> None:
    parts = [PunctualShard(LocalShard.open(repeated, part, 3)) for part in (0, 1)]
    hanging, query = HangingShard(), np.ones(16, np.float32)
    index = ShardedIndex(*open_vectors(repeated), [hanging, *parts], 0.5)
    well = ShardedIndex(*open_vectors(repeated), parts, 60.0)
    expected = well.nearest(query, 20, None).tolist()
    for _ in range(2):
        with watch_shards() as missing:
            assert index.nearest(query, 20, None).tolist() == expected
        assert missing == {"slow:1"}
    assert hanging.asked == 1
    assert set(index._retry_at) == {"slow:1"}


def test_what_is_proposed_and_not_scored_in_time_counts_by_its_closeness(
    repeated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharded_index, "_SCORED", 0)  # only the fewest
    parts = [PunctualShard(LocalShard.open(repeated, part, 2)) for part in (0, 1)]
    index = ShardedIndex(*open_vectors(repeated), parts, 60.0)
    query = np.asarray(index.vectors[NUM_ITEMS - 1])  # of the second part, as all like it
    expected = index.nearest(query, 10, None)
    parts[1].scores = False
    with watch_shards() as missing:
        found = index.nearest(query, 10, None)
    assert missing == {parts[1].name} and not index._retry_at
    assert len(np.intersect1d(found, expected)) >= 5


def test_no_shard_at_all_is_an_error(repeated: Path) -> None:
    index = ShardedIndex(*open_vectors(repeated), [SlowShard()], 60.0)
    with watch_shards() as missing, pytest.raises(StorageError, match="none of 1 shards"):
        index.nearest(np.ones(16, np.float32), 5, None)
    assert missing == {"slow:1"}


def test_a_set_has_as_many_bits_as_it_says() -> None:
    items = ItemSet(np.array([True, False, True] * 5))
    bits = items.bits.tobytes()
    head = {"items": digest_of(bits), "count": 15}
    digest, found = read_set(head, bits)
    assert digest == head["items"] and found.mask.tolist() == items.mask.tolist()
    with pytest.raises(ValueError, match="another set"):
        read_set({**head, "count": 10**9}, bits)  # which would take a gigabyte
