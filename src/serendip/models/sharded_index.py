"""An index whose items are spread over shards, each of which searches a range of item numbers.

A query goes to all shards at once (scatter), and the best of what they give are taken (gather). So
what has to be in memory to search is on as many machines as the index needs.

The result is that of one index. The inverted file of a shard is that of the whole without the items
of other ranges: the same centroids, lists and codes. Shards propose the closest items of their
range with how close they are; those that one index would have proposed are then scored, each by
its shard. A shard is asked for a multiple of its share of the proposals; where that proves too few
it is asked again for all that it could have among them.

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
from typing import Protocol, TypeVar

import numpy as np

from serendip.data.allowed_items import AllowedItems
from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray, are_within
from serendip.data.packed_rows import slice_rows
from serendip.errors import ArtefactError, DataError, StorageError
from serendip.models.ann_index import (
    ApproximateIndex,
    ApproximateIndexConfig,
    FoundItems,
    SearchPlan,
    cut_lists,
    open_lists,
    open_vectors,
    take_best,
)

T = TypeVar("T")

_log = logging.getLogger(__name__)

RETRY_S = 1.0
"""Seconds for which a shard that failed is not asked."""

_SHARES, _LEAST = 4, 64
"""A shard is first asked for so many times its share of the proposals, but no fewer than that:
items that are alike often have numbers that are near. To read lists again costs more."""

_NO_SCORES: FloatArray = np.empty(0, np.float32)
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

    def start_scores(
        self, query: FloatArray, items: IntArray, end: float
    ) -> Callable[[], FloatArray]:
        """Begin to compute the products (M,) of a query (D,) and items (M,) that were proposed.

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
        found = self._propose(query, plan, allowed, end)
        if not plan.pool:
            whole = FoundItems.of(list(found.values()))
            return take_best(whole.items, whole.closeness, k)[0]
        wanted = min(k, len(self) if allowed is None else allowed.count)
        if sum(len(part.items) for part in found.values()) < wanted:
            found = self._propose(query, replace(plan, all_lists=True), allowed, end)
        bar = FoundItems.of(list(found.values())).bar(plan.pool)
        close = {shard: part.above(bar).items for shard, part in found.items()}
        scores = self._ask(
            [shard for shard, items in close.items() if len(items)],
            lambda shard: shard.start_scores(query, close[shard], end),
        )
        items = np.concatenate([NO_ITEMS, *(close[shard] for shard in scores)])
        return take_best(items, np.concatenate([_NO_SCORES, *scores.values()]), k)[0]

    def _propose(
        self, query: FloatArray, plan: SearchPlan, allowed: AllowedItems | None, end: float
    ) -> dict[ItemShard, FoundItems]:
        """What all shards propose, with all that one index would; until a moment."""
        count = _share_of(plan.pool, len(self._shards))
        part_plan = replace(plan, pool=count)
        parts = self._ask(self._shards, lambda shard: shard.start(query, part_plan, allowed, end))
        if not parts:
            raise StorageError(f"none of {len(self._shards)} shards of the index answers.")
        bar = FoundItems.of(list(parts.values())).bar(plan.pool)
        cut = [one for one, part in parts.items() if count < plan.pool and part.bar(count) > bar]
        if cut and time.monotonic() < end:  # else one was late, and is named
            parts |= self._ask(cut, lambda shard: shard.start(query, plan, allowed, end))
        return parts

    def _ask(
        self, shards: Sequence[ItemShard], start: Callable[[ItemShard], Callable[[], T]]
    ) -> dict[ItemShard, T]:
        """What shards answer, all asked before the first answer; those that do not are noted."""
        now = time.monotonic()
        waiting = {
            shard: start(shard) for shard in shards if now >= self._retry_at.get(shard.name, 0.0)
        }
        found = {}
        for shard, wait in waiting.items():
            if (part := self._result(wait, shard)) is not None:
                found[shard] = part
        missing = {shard.name for shard in shards if shard not in found}
        if missing:
            _note_missing(missing)
        return found

    def _result(self, wait: Callable[[], T], shard: ItemShard) -> T | None:
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
        """The search of ``propose``, which takes its time whatever the end."""
        return lambda: self.propose(query, plan, allowed)

    def start_scores(
        self, query: FloatArray, items: IntArray, end: float
    ) -> Callable[[], FloatArray]:
        """The products of ``score``."""
        return lambda: self.score(query, items)

    def propose(
        self, query: FloatArray, plan: SearchPlan, allowed: AllowedItems | None
    ) -> FoundItems:
        """The allowed items of the range among which a query (D,) has its best ones, by a plan."""
        inside = None if allowed is None else allowed.within_range(self.begin, self.end)
        return self.propose_inside(query, plan, inside)

    def propose_inside(
        self, query: FloatArray, plan: SearchPlan, inside: AllowedItems | None
    ) -> FoundItems:
        """``propose``, of allowed items that are numbered from 0 in the range."""
        if inside is not None and inside.count < 1:
            return FoundItems.none()
        found = self._index.propose(query, plan, inside)
        return replace(found, items=(found.items + self.begin).astype(np.int32))

    def score(self, query: FloatArray, items: IntArray) -> FloatArray:
        """Products (M,) of a query (D,) and items (M,) of the range.

        Raises:
            DataError: an item is of another range.
        """
        if not are_within(items - self.begin, len(self._index)):
            raise DataError(f"an item is not among {self.name}.")
        return self._index.score(query, (items - self.begin).astype(np.int32))


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
    """Proposals that one of several shards is asked for first."""
    return min(pool, max(math.ceil(_SHARES * pool / num_shards), _LEAST))


def _note_missing(names: set[str]) -> None:
    if (watched := _missing.get()) is not None:
        watched |= names
