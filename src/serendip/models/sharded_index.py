"""An index whose items are spread over shards, each of which searches a range of item numbers.

A query goes to all shards at once (scatter); each gives the best items of its range with their
scores, and the best of all are taken (gather). So what has to be in memory to search is on as many
machines as the index needs. If all shards compare all their items, the result is that of one index.
Inverted files of shards have the lists of the whole index and probe the same ones; each proposes as
many items as the whole index does, so that together they find no fewer.

A shard that fails or takes longer than the deadline is left out, and not asked again for a second.
Whoever searches is told which ones were left out (``watch_shards``).

Shapes: N items, D size of the vectors, C items found.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol

import numpy as np

from serendip.data.allowed_items import AllowedItems
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.packed_rows import slice_rows
from serendip.errors import StorageError
from serendip.models.ann_index import ApproximateIndex, find_top, open_lists, open_vectors

_log = logging.getLogger(__name__)

RETRY_S = 1.0
"""Seconds for which a shard that failed is not asked."""

_ROWS_PER_BLOCK = 65_536
_missing: ContextVar[set[str] | None] = ContextVar("missing shards", default=None)
_opened_with: ContextVar[Opener | None] = ContextVar("opener of shards", default=None)


class ItemShard(Protocol):
    """Searches the items of a range of numbers; safe to use from many threads."""

    @property
    def name(self) -> str:
        """For people: its address."""

    def nearest(
        self, query: FloatArray, k: int, allowed: AllowedItems | None, deadline_s: float
    ) -> tuple[IntArray, FloatArray]:
        """The best k allowed items of the range for a query (D,): numbers (C,) and products (C,).

        Raises:
            StorageError: it cannot answer, or not in time.
        """


class ShardedIndex:
    """Searches all shards at once; safe to use from many threads.

    Args:
        vectors: (N, D) of all items, mapped; a search does not read them.
        shards: that have all items together.
        deadline_s: seconds that a search waits for shards.
    """

    def __init__(self, vectors: FloatArray, shards: Sequence[ItemShard], deadline_s: float) -> None:
        self.vectors, self._shards, self._deadline_s = vectors, shards, deadline_s
        self._threads = ThreadPoolExecutor(8 * len(shards), thread_name_prefix="shards")
        self._retry_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def is_exact(self) -> bool:
        """False: the products of all items are nowhere in one place."""
        return False

    def nearest(
        self,
        query: FloatArray,
        k: int,
        allowed: AllowedItems | None,
        products: FloatArray | None = None,
    ) -> IntArray:
        """The best k allowed items of all shards that answer in time, in any order.

        Raises:
            StorageError: none does.
        """
        query = np.ascontiguousarray(query, np.float32)
        end = time.monotonic() + self._deadline_s
        asked = {
            self._threads.submit(shard.nearest, query, k, allowed, self._deadline_s): shard
            for shard in self._shards
            if time.monotonic() >= self._retry_at.get(shard.name, 0.0)
        }
        wait(asked, timeout=max(0.0, end - time.monotonic()))
        found = {
            shard.name: part
            for future, shard in asked.items()
            if (part := self._result(future, shard)) is not None
        }
        missing = {shard.name for shard in self._shards} - found.keys()
        if missing:
            _note_missing(missing)
        if not found:
            raise StorageError(f"none of {len(self._shards)} shards of the index answers.")
        items = np.concatenate([items for items, _ in found.values()])
        scores = np.concatenate([scores for _, scores in found.values()])
        best: IntArray = items[find_top(scores, k)]
        return best

    def _result(
        self, future: Future[tuple[IntArray, FloatArray]], shard: ItemShard
    ) -> tuple[IntArray, FloatArray] | None:
        """What a shard found; None if it failed or is late."""
        if future.done() and future.exception() is None:
            if self._retry_at.pop(shard.name, None) is not None:
                _log.info("shard %s answers again", shard.name)
            return future.result()
        error = future.exception() if future.done() else "it is late"
        future.cancel()
        if shard.name not in self._retry_at:
            _log.warning("shard %s is left out: %s", shard.name, error)
        self._retry_at[shard.name] = time.monotonic() + RETRY_S
        return None

    def save(self, folder: Path) -> None:
        """Nothing is saved of what only serves.

        Raises:
            StorageError: always.
        """
        raise StorageError(f"{folder} cannot have an index that is in shards.")


class LocalShard:
    """The items of a range in this process: what a shard of another machine runs.

    Args:
        index: of the items of the range, numbered from 0.
        begin: number of the first one.
    """

    def __init__(self, index: ApproximateIndex, begin: int) -> None:
        self._index, self.begin, self.end = index, begin, begin + len(index)
        self.name = f"items {self.begin} to {self.end - 1}"

    @classmethod
    def open(cls, folder: Path, part: int, parts: int) -> LocalShard:
        """Read one of several equal ranges of an index; only that range stays in memory.

        Args:
            folder: of ``ApproximateIndex.save``.
            part: number of the range, from 0.
            parts: number of ranges.

        Raises:
            ArtefactError: the folder has no readable index.
        """
        config, vectors = open_vectors(folder)
        begin, end = (len(vectors) * step // parts for step in (part, part + 1))
        lists, num_probes = open_lists(folder), 0
        rows = slice_rows(vectors, begin, end)
        if lists is not None:
            num_probes = int(lists.nprobe)
            lists.reset()  # what was learned stays: centroids and codes are those of the whole
            for start in range(0, len(rows), _ROWS_PER_BLOCK):
                lists.add(np.asarray(rows[start : start + _ROWS_PER_BLOCK], np.float32))
        return cls(ApproximateIndex(config, rows, lists, num_probes), begin)

    def nearest(
        self, query: FloatArray, k: int, allowed: AllowedItems | None, deadline_s: float = 0.0
    ) -> tuple[IntArray, FloatArray]:
        """The best k allowed items of the range: numbers (C,) and products (C,)."""
        inside = None if allowed is None else allowed.within_range(self.begin, self.end)
        return self.nearest_inside(query, k, inside)

    def nearest_inside(
        self, query: FloatArray, k: int, inside: AllowedItems | None
    ) -> tuple[IntArray, FloatArray]:
        """``nearest``, of allowed items that are numbered from 0 in the range."""
        if inside is not None and inside.count < 1:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        items, scores = self._index.nearest_scored(query, k, inside)
        return (items + self.begin).astype(np.int32), np.asarray(scores, np.float32)


Opener = Callable[[Path], "ShardedIndex | None"]
"""Folder of an index -> its shards; None = it is searched in this process."""


@contextmanager
def opening_shards(opener: Opener) -> Iterator[None]:
    """While a generation is opened: whose indexes are searched by shards."""
    token = _opened_with.set(opener)
    try:
        yield
    finally:
        _opened_with.reset(token)


def open_index(folder: Path) -> ApproximateIndex | ShardedIndex:
    """Read an index, or connect to its shards if it is opened with some.

    Raises:
        ArtefactError: the folder has no readable index.
    """
    opener = _opened_with.get()
    found = None if opener is None else opener(folder)
    return ApproximateIndex.open(folder) if found is None else found


@contextmanager
def watch_shards() -> Iterator[set[str]]:
    """Collect the names of shards that searches in this thread had to leave out."""
    names: set[str] = set()
    token = _missing.set(names)
    try:
        yield names
    finally:
        _missing.reset(token)


def _note_missing(names: set[str]) -> None:
    if (watched := _missing.get()) is not None:
        watched |= names
