from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.data.allowed_items import AllowedItems, ItemSet
from serendip.data.arrays import FloatArray, IntArray
from serendip.errors import StorageError
from serendip.models import sharded_index
from serendip.models.ann_index import ApproximateIndex, ApproximateIndexConfig
from serendip.models.remote_shard import SetHead, digest_of
from serendip.models.sharded_index import LocalShard, ShardedIndex, watch_shards


def build(folder: Path, num_items: int, exact_up_to: int) -> ApproximateIndex:
    """A stored index of random vectors."""
    random = np.random.default_rng(3)
    vectors = random.normal(size=(num_items, 16)).astype(np.float32)
    config = ApproximateIndexConfig(exact_up_to=exact_up_to)
    index = ApproximateIndex.build(vectors, random.normal(size=(20, 16)).astype(np.float32), config)
    index.save(folder)
    return index


def in_shards(folder: Path, parts: int, deadline_s: float = 5.0) -> ShardedIndex:
    shards = [LocalShard.open(folder, part, parts) for part in range(parts)]
    vectors = ApproximateIndex.open(folder).vectors
    return ShardedIndex(vectors, shards, deadline_s)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exact")
    build(folder, 211, 1_000)
    return folder


@settings(deadline=None, max_examples=60)
@given(
    parts=st.integers(1, 7),
    k=st.integers(1, 250),
    seed=st.integers(0, 99),
    share=st.sampled_from([None, 0.0, 0.02, 0.5, 1.0]),
)
def test_exact_shards_find_what_one_index_finds(
    exact: Path, parts: int, k: int, seed: int, share: float | None
) -> None:
    random = np.random.default_rng(seed)
    query = random.normal(size=16).astype(np.float32)
    allowed = None
    if share is not None:
        shown = AllowedItems(ItemSet(random.random(230) < share))  # a few are newer than the index
        allowed = shown.without(random.integers(0, 211, 12).astype(np.int32))
    expected = ApproximateIndex.open(exact).nearest(query, k, allowed)
    found = in_shards(exact, parts).nearest(query, k, allowed)
    assert sorted(found.tolist()) == sorted(expected.tolist())


def test_shards_of_an_inverted_file_find_no_fewer_of_the_best(tmp_path: Path) -> None:
    whole = build(tmp_path, 6_000, 100)
    assert not whole.is_exact
    sharded, random = in_shards(tmp_path, 3), np.random.default_rng(5)
    vectors = np.asarray(whole.vectors)
    for _ in range(20):
        query = random.normal(size=16).astype(np.float32)
        allowed = AllowedItems(ItemSet(random.random(6_000) < 0.7))
        best = set(np.argsort(-np.where(allowed.shared.mask, vectors @ query, -np.inf))[:50])
        found = [len(best & set(one.nearest(query, 50, allowed))) for one in (sharded, whole)]
        assert found[0] >= found[1]


class SlowShard:
    """A shard that answers when it is let."""

    name = "slow:1"

    def __init__(self) -> None:
        self.may_answer, self.asked = threading.Event(), 0

    def nearest(
        self, query: FloatArray, k: int, allowed: AllowedItems | None, deadline_s: float
    ) -> tuple[IntArray, FloatArray]:
        self.asked += 1
        self.may_answer.wait(10)
        return np.array([999], np.int32), np.array([1e9], np.float32)


def test_a_late_shard_is_left_out_and_told_and_not_asked_for_a_while(
    exact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, query = SlowShard(), np.ones(16, np.float32)
    vectors = ApproximateIndex.open(exact).vectors
    index = ShardedIndex(vectors, [LocalShard.open(exact, 0, 2), slow], 0.05)
    expected = LocalShard.open(exact, 0, 2).nearest(query, 5, None)[0]
    for _ in range(3):
        with watch_shards() as missing:
            begin = time.monotonic()
            assert sorted(index.nearest(query, 5, None)) == sorted(expected)
            assert time.monotonic() - begin < 5
        assert missing == {"slow:1"}
    assert slow.asked == 1
    slow.may_answer.set()
    monkeypatch.setattr(sharded_index, "RETRY_S", 0.0)
    index._retry_at.clear()
    with watch_shards() as missing:
        assert 999 in index.nearest(query, 5, None)
    assert missing == set()


def test_no_shard_at_all_is_an_error(exact: Path) -> None:
    index = ShardedIndex(ApproximateIndex.open(exact).vectors, [SlowShard()], 0.01)
    with watch_shards() as missing, pytest.raises(StorageError, match="none of 1 shards"):
        index.nearest(np.ones(16, np.float32), 5, None)
    assert missing == {"slow:1"}


def test_a_set_has_as_many_bits_as_it_says() -> None:
    items = ItemSet(np.array([True, False, True] * 5))
    bits = items.bits.tobytes()
    head = SetHead("token", digest_of(bits), 15)
    assert head.read(bits).mask.tolist() == items.mask.tolist()
    with pytest.raises(ValueError, match="another set"):
        replace(head, count=10**9).read(bits)  # which would take a gigabyte
