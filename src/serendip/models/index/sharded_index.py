"""An index whose items are spread over shards, each of which searches a range of item numbers.

A query goes to all shards at once (scatter), and the best of what they give are taken (gather). So
what has to be in memory to search is on as many machines as the index needs.

The result is that of one index. The inverted file of a shard is that of the whole without the items
of other ranges: the same centroids, lists and codes. Shards propose the closest items of their
range with how close they are, and tell the products of the closest of them; those that one index
would have proposed and that have no product yet are then scored, each by its shard. A shard is
asked for a multiple of its share of the proposals; where that proves too few it is asked again for
all that it could have among them.

Of the time of a search a part is kept for the scores. A shard that fails or does not propose in
time is left out, and not asked again for a second; of one that proposes and does not score in time
the items count by how close they are. Whoever searches is told of both (``watch_shards``).

Shapes: N items, D size of the vectors, C items found.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from serendip.data.arrays import FloatArray, IntArray, are_within
from serendip.data.items.allowed_items import AllowedItems
from serendip.data.rows.packed_rows import slice_rows
from serendip.errors import ArtefactError, DataError, StorageError
from serendip.models.index.ann_index import (
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

_SCORED = 3
"""Shards tell the products of so many times their share of the proposals: to score what is not
needed costs less than to ask a second time."""

_PROPOSING = 0.6
"""Share of the time of a search in which shards propose; the scores have at least the rest."""

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
        begin = time.monotonic()
        plan = SearchPlan.of(self.config, len(self), k, allowed, has_lists=True)
        wanted = min(k, len(self) if allowed is None else allowed.count)
        end, share = begin + self._deadline_s, _PROPOSING if plan.pool else 1.0
        proposed = self._propose(query, plan, allowed, wanted, begin + share * self._deadline_s)
        if not plan.pool:  # which are scored already
            whole = FoundItems.of(list(proposed.values()))
            return take_best(whole.items, whole.closeness, k)[0]
        bar = FoundItems.of(list(proposed.values())).bar(plan.pool)
        close = {shard: part.above(bar) for shard, part in proposed.items()}
        scores = self._ask(
            [shard for shard, part in close.items() if len(part.unscored)],
            lambda shard: shard.start_scores(query, close[shard].unscored, end),
            known=proposed,
        )
        items = [part.items for part in close.values()]
        values = [part.values(scores.get(shard)) for shard, part in close.items()]
        return take_best(np.concatenate(items), np.concatenate(values), k)[0]

    def _propose(
        self,
        query: FloatArray,
        plan: SearchPlan,
        allowed: AllowedItems | None,
        wanted: int,
        end: float,
    ) -> dict[ItemShard, FoundItems]:
        """What shards propose, with all that one index would; until a moment.

        Raises:
            StorageError: none does.
        """
        now, retry_at = time.monotonic(), self._retry_at
        ready = [shard for shard in self._shards if now >= retry_at.get(shard.name, 0.0)]
        _note_missing({shard.name for shard in self._shards if shard not in ready})
        parts = self._propose_above_bar(query, plan, allowed, ready, end)
        if not parts:
            raise StorageError(f"none of {len(self._shards)} shards of the index answers.")
        is_few = plan.pool and sum(len(part.items) for part in parts.values()) < wanted
        if is_few and time.monotonic() < end:  # else one was late, and is named
            every = replace(plan, all_lists=True)
            parts |= self._propose_above_bar(query, every, allowed, list(parts), end, known=parts)
        return parts

    def _propose_above_bar(
        self,
        query: FloatArray,
        plan: SearchPlan,
        allowed: AllowedItems | None,
        shards: Sequence[ItemShard],
        end: float,
        known: Collection[ItemShard] = (),
    ) -> dict[ItemShard, FoundItems]:
        """Ask for a multiple of their share, and those with more above the bar for all of it."""
        count = _share_of(plan.pool, len(self._shards), _SHARES)
        plan = replace(plan, scored=_share_of(plan.pool, len(self._shards), _SCORED))
        part_plan = replace(plan, pool=count)
        parts = self._ask(shards, lambda one: one.start(query, part_plan, allowed, end), known)
        if not parts:
            return parts
        bar = FoundItems.of(list(parts.values())).bar(plan.pool)
        cut = [one for one, part in parts.items() if count < plan.pool and part.bar(count) > bar]
        if cut and time.monotonic() < end:  # else one was late, and is named
            parts |= self._ask(cut, lambda one: one.start(query, plan, allowed, end), known=parts)
        return parts

    def _ask(
        self,
        shards: Sequence[ItemShard],
        start: Callable[[ItemShard], Callable[[], T]],
        known: Collection[ItemShard],
    ) -> dict[ItemShard, T]:
        """What shards answer, all asked before the first answer; those that do not are noted.

        Those that are known have answered in this search: they are well, and only out of time.
        """
        waiting = {shard: start(shard) for shard in shards}
        found: dict[ItemShard, T] = {}
        for shard, wait in waiting.items():
            try:
                found[shard] = wait()
            except StorageError as error:
                _note_missing({shard.name})
                if shard not in known:
                    self._leave_out(shard, error)
                continue
            if self._retry_at.pop(shard.name, None) is not None:
                _log.info("shard %s answers again", shard.name)
        return found

    def _leave_out(self, shard: ItemShard, error: StorageError) -> None:
        """Do not ask a shard for a while."""
        if shard.name not in self._retry_at:
            _log.warning("%s It is left out.", error)
        self._retry_at[shard.name] = time.monotonic() + RETRY_S

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
        """``propose``, of allowed items that are numbered from 0 in the range.

        Raises:
            DataError: the query is of another size.
        """
        self._require_size(query)
        if inside is not None and inside.count < 1:
            return FoundItems.none()
        found = self._index.propose(query, plan, inside)
        scores = self._index.score(query, found.items[: plan.scored])
        return FoundItems((found.items + self.begin).astype(np.int32), found.closeness, scores)

    def score(self, query: FloatArray, items: IntArray) -> FloatArray:
        """Products (M,) of a query (D,) and items (M,) of the range.

        Raises:
            DataError: an item is of another range, or the query of another size.
        """
        self._require_size(query)
        if not are_within(items - self.begin, len(self._index)):
            raise DataError(f"an item is not among {self.name}.")
        return self._index.score(query, (items - self.begin).astype(np.int32))

    def _require_size(self, query: FloatArray) -> None:
        size = self._index.vectors.shape[1]
        if query.shape != (size,):
            raise DataError(f"a query of {query.shape} for vectors of size {size}.")


Opener = Callable[[Path], "ShardedIndex | None"]
"""Folder of an index -> its shards; None = it is searched in this process."""


@contextmanager
def opening_shards(opener: Opener | None) -> Iterator[None]:
    """While a generation is opened: whose indexes are searched by shards; None = by none."""
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


def _share_of(pool: int, num_shards: int, times: int) -> int:
    """So many times the share of the proposals that one of several shards has."""
    return min(pool, max(math.ceil(times * pool / num_shards), _LEAST))


def _note_missing(names: set[str]) -> None:
    if (watched := _missing.get()) is not None:
        watched |= names
