"""An index whose items are spread over shards, each of which searches a range of item numbers.

A query goes to all shards at once (scatter), and the best of what they give are taken (gather). So
what has to be in memory to search is on as many machines as the index needs.

The result is that of one index. The inverted file of a shard is that of the whole without the items
of other ranges: the same centroids, lists and codes. Shards propose the closest items of their
range with how close they are; those that one index would have proposed are compared by their
products, as it does. A shard is asked for its share of the proposals and a little more; where that
proves too few it is asked again for all that it could have among them.

A shard that fails or takes longer than the deadline is left out, and not asked again for a second.
Whoever searches is told which ones were left out (``watch_shards``).

Shapes: N items, D size of the vectors, C items found.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from serendip.data.allowed_items import AllowedItems
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.packed_rows import slice_rows
from serendip.errors import ArtefactError, StorageError
from serendip.models.ann_index import (
    ApproximateIndex,
    ApproximateIndexConfig,
    FoundItems,
    SearchPlan,
    cut_lists,
    open_lists,
    open_vectors,
)

_log = logging.getLogger(__name__)

RETRY_S = 1.0
"""Seconds for which a shard that failed is not asked."""

_SPREAD = 4.0
"""Standard deviations by which a shard may have more of the proposals than its share."""

_missing: ContextVar[set[str] | None] = ContextVar("missing shards", default=None)
_opened_with: ContextVar[Opener | None] = ContextVar("opener of shards", default=None)


class ItemShard(Protocol):
    """Searches the items of a range of numbers; safe to use from many threads."""

    @property
    def name(self) -> str:
        """For people: its address."""

    def start(
        self, query: FloatArray, plan: SearchPlan, allowed: AllowedItems | None, end: float
    ) -> Callable[[], FoundItems]:
        """Begin to look for the items of a range among which a query (D,) has its best, by a plan.

        What is returned waits for them until a moment of ``time.monotonic``.

        Raises:
            StorageError: by what is returned: it cannot answer, or not in time.
        """


class ShardedIndex:
    """Searches all shards at once; safe to use from many threads.

    Args:
        config: of the whole index, which has lists.
        vectors: (N, D) of all items, mapped; a search does not read them.
        shards: that have all items together.
        deadline_s: seconds that a search waits for shards.
    """

    def __init__(
        self,
        config: ApproximateIndexConfig,
        vectors: FloatArray,
        shards: Sequence[ItemShard],
        deadline_s: float,
    ) -> None:
        self.config, self.vectors = config, vectors
        self._shards, self._deadline_s = shards, deadline_s
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
        """The best k allowed items of all shards that answer in time, ascending.

        Raises:
            StorageError: none does.
        """
        query = np.ascontiguousarray(query, np.float32)
        end = time.monotonic() + self._deadline_s
        plan = SearchPlan.of(self.config, len(self), k, allowed, has_lists=True)
        found = self._gather(query, plan, allowed, end)
        wanted = min(k, len(self) if allowed is None else allowed.count)
        if plan.pool and len(found.items) < wanted:
            found = self._gather(query, replace(plan, all_lists=True), allowed, end)
        return found.best(plan)[0]

    def _gather(
        self, query: FloatArray, plan: SearchPlan, allowed: AllowedItems | None, end: float
    ) -> FoundItems:
        """What all shards have, with all that one index would propose; until a moment."""
        count = _share_of(plan.pool, len(self._shards))
        parts = self._ask(self._shards, query, replace(plan, pool=count), allowed, end)
        if not parts:
            raise StorageError(f"none of {len(self._shards)} shards of the index answers.")
        found = FoundItems.of(list(parts.values()))
        bar = found.bar(plan.pool)
        cut = [one for one, part in parts.items() if count < plan.pool and part.bar(count) > bar]
        if not cut or time.monotonic() >= end:  # then one was late, and is named
            return found
        parts |= self._ask(cut, query, plan, allowed, end)
        return FoundItems.of(list(parts.values()))

    def _ask(
        self,
        shards: Sequence[ItemShard],
        query: FloatArray,
        plan: SearchPlan,
        allowed: AllowedItems | None,
        end: float,
    ) -> dict[ItemShard, FoundItems]:
        """What shards answer until a moment; those that do not are noted."""
        now = time.monotonic()
        waiting = {
            shard: shard.start(query, plan, allowed, end)
            for shard in shards
            if now >= self._retry_at.get(shard.name, 0.0)
        }
        found = {
            shard: part
            for shard, wait in waiting.items()
            if (part := self._result(wait, shard)) is not None
        }
        missing = {shard.name for shard in shards if shard not in found}
        if missing:
            _note_missing(missing)
        return found

    def _result(self, wait: Callable[[], FoundItems], shard: ItemShard) -> FoundItems | None:
        """What a shard found; None if it failed or is late."""
        try:
            found = wait()
        except StorageError as error:
            if shard.name not in self._retry_at:
                _log.warning("%s It is left out.", error)
            self._retry_at[shard.name] = time.monotonic() + RETRY_S
            return None
        if self._retry_at.pop(shard.name, None) is not None:
            _log.info("shard %s answers again", shard.name)
        return found

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
            ArtefactError: the folder has no readable index, or one without lists.
        """
        config, vectors = open_vectors(folder)
        begin, end = (len(vectors) * step // parts for step in (part, part + 1))
        lists = open_lists(folder)
        if lists is None:
            raise ArtefactError(f"{folder} has no lists.", "An index without them needs no shards.")
        rows, num_probes = slice_rows(vectors, begin, end), int(lists.nprobe)
        return cls(ApproximateIndex(config, rows, cut_lists(lists, begin, end), num_probes), begin)

    def start(
        self, query: FloatArray, plan: SearchPlan, allowed: AllowedItems | None, end: float
    ) -> Callable[[], FoundItems]:
        """The search of ``compare``, which takes its time whatever the end."""
        return lambda: self.compare(query, plan, allowed)

    def compare(
        self, query: FloatArray, plan: SearchPlan, allowed: AllowedItems | None
    ) -> FoundItems:
        """The allowed items of the range among which a query (D,) has its best ones, by a plan."""
        inside = None if allowed is None else allowed.within_range(self.begin, self.end)
        return self.compare_inside(query, plan, inside)

    def compare_inside(
        self, query: FloatArray, plan: SearchPlan, inside: AllowedItems | None
    ) -> FoundItems:
        """``compare``, of allowed items that are numbered from 0 in the range."""
        if inside is not None and inside.count < 1:
            return FoundItems.none()
        found = self._index.compare(query, plan, inside)
        return replace(found, items=(found.items + self.begin).astype(np.int32))


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


def _share_of(pool: int, num_shards: int) -> int:
    """Proposals of one of several shards: its share, and what chance may add to that."""
    share = pool / num_shards
    return min(pool, math.ceil(share + _SPREAD * math.sqrt(share)))


def _note_missing(names: set[str]) -> None:
    if (watched := _missing.get()) is not None:
        watched |= names
