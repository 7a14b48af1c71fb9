"""Training batches of the retriever as numpy arrays; no Python per row.

Each row holds a block of targets and the events before it (``retriever_log``). The requests of a
row are: for every target a home request that sees only what lies strictly before the target's
second (as when serving), a few similar requests (an item -> the one after it) and a few search
requests (a query -> its item); some of them see no history at all. Where users' countries are
known, home requests name theirs, and some of them none.

Shapes: B rows, T steps of a row, M requests per row.

Events of users, packed and cut into rows for training; no Python per row.

A user's events are cut into blocks of targets; each row holds one block and the events before it.

Example queries by the item that each should find, as training draws them; no Python per row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.dataset import EventLog, QueryExamples
from serendip.errors import DataError
from serendip.models.retriever.config import RetrieverConfig, block_size
from serendip.models.retriever.requests import HOME, NONE, SEARCH, SIMILAR, LongArray, gap_buckets


class PackedLog:
    """Events grouped by user, oldest first, ready to be cut into rows.

    Args:
        log: events in order of time.
        is_target: (E,) which of them may be predicted.
    """

    def __init__(self, log: EventLog, is_target: BoolArray) -> None:
        order = np.argsort(log.users, kind="stable")
        self.users = log.users[order]
        self.items = log.items[order].astype(np.int64)
        self.liked = log.liked[order].astype(np.int64)
        self.is_target = is_target[order]
        self.strengths = None if log.strengths is None else log.strengths[order]
        times = log.timestamps[order]
        new_user = np.r_[True, self.users[1:] != self.users[:-1]][: len(order)]
        gaps = np.r_[np.nan, np.diff(times)][: len(order)]
        gaps[new_user] = np.nan
        self.gaps = gap_buckets(gaps)
        self.starts = np.flatnonzero(new_user)
        self.lengths = np.diff(np.r_[self.starts, len(order)])
        first_of_second = np.isnan(gaps) | (gaps > 0)
        index = np.arange(len(order))
        self.strictly_before = np.maximum.accumulate(np.where(first_of_second, index, 0))


@dataclass(frozen=True, slots=True, eq=False)
class RowBounds:
    """Row r holds events ``begin[r]:end[r]`` of a log; targets start at ``first[r]``."""

    begin: LongArray
    first: LongArray
    end: LongArray

    def take(self, rows: LongArray) -> RowBounds:
        """Some of the rows."""
        return RowBounds(self.begin[rows], self.first[rows], self.end[rows])


def cut_rows(log: PackedLog, max_len: int, offsets: LongArray) -> RowBounds:
    """Cut every user's events into blocks of ``block_size`` targets with what precedes them.

    Args:
        log: the events.
        max_len: most events of a row.
        offsets: (number of users with events,) shift of each user's first border.
    """
    block = block_size(max_len)
    offsets = offsets % block
    counts = (log.lengths + offsets + block - 1) // block
    user = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    start, stop = log.starts[user], log.starts[user] + log.lengths[user]
    first = start + number * block - offsets[user]
    begin = np.maximum(first - (max_len - block), start)
    rows = RowBounds(begin, np.maximum(first, start), np.minimum(first + block, stop))
    sums = np.r_[0, np.cumsum(log.is_target)]
    return rows.take(np.flatnonzero(sums[rows.end] > sums[rows.first]))


class ItemQueries:
    """Queries of items.

    Args:
        examples: Q queries; None = there are none.
        drawn: (Q,) which of them are used; None = all.
    """

    def __init__(self, examples: QueryExamples | None, drawn: BoolArray | None = None) -> None:
        self._items = np.empty(0, np.int64) if examples is None else examples.items.astype(np.int64)
        order = np.argsort(self._items, kind="stable")
        self._order = order if drawn is None else order[drawn[order]]
        self._ordered = self._items[self._order]

    def __len__(self) -> int:
        return len(self._order)

    def first(self, items: LongArray) -> LongArray:
        """The first query of each item; -1 = it has none."""
        return self._at(np.searchsorted(self._ordered, items), items)

    def any_of(self, items: LongArray, random: np.random.Generator) -> LongArray:
        """A query of each item, by chance; -1 = it has none."""
        low = np.searchsorted(self._ordered, items)
        count = np.searchsorted(self._ordered, items, side="right") - low
        return self._at(low + (random.random(items.shape) * count).astype(np.int64), items)

    def anything(
        self, shape: tuple[int, ...], random: np.random.Generator
    ) -> tuple[LongArray, LongArray]:
        """Any queries, and the item of each."""
        queries = self._order[random.integers(0, len(self._order), shape)]
        return queries, self._items[queries]

    def _at(self, places: LongArray, items: LongArray) -> LongArray:
        """Queries by place in the order of their items; -1 where that is one of another item."""
        if not len(self):
            return np.full(places.shape, NONE, np.int64)
        places = np.minimum(places, len(self) - 1)
        return np.where(self._ordered[places] == items, self._order[places], NONE)


_NO_COUNTRY_SHARE = 0.2
"""Share of home requests whose country is left out, so that one without it is nothing unusual."""

_LENGTH_NOISE = 1.5
"""Rows of lengths nearer than this may change places, so that steps are never the same."""


Requests = tuple[LongArray, LongArray, LongArray, LongArray, LongArray, FloatArray]
"""Prefix, task, source, query, target and weight of some requests of each row, (B, M)."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """One step of training.

    Args:
        items, liked, gaps, places: (B, T) int64 history; ``places`` = T maximum for padding.
        prefix, task, source, query, target: (B, M) int64; -1 = no source, query or target. All
            rows have the same tasks in the same order, searches last.
        weight: (B, M) float32 how much each request counts; None = all the same.
        country: (B, M) int64, 1 + number of the country; 0 = not known. None = nobody's is.
    """

    items: LongArray
    liked: LongArray
    gaps: LongArray
    places: LongArray
    prefix: LongArray
    task: LongArray
    source: LongArray
    query: LongArray
    target: LongArray
    weight: FloatArray | None = None
    country: LongArray | None = None

    @property
    def num_searches(self) -> int:
        """How many requests of each row are searches."""
        return int((self.task[0] == SEARCH).sum())


class BatchBuilder:
    """Draws the requests of rows.

    Args:
        log: the events.
        queries: examples for the search task; None = no such task.
        config: its ``max_len``, ``tasks``, ``slots``, ``blind_share`` and ``imputation`` say what
            is drawn.
        drawn: (Q,) which of the queries; None = all.
        countries: (U,) number of each user's country, -1 = not known; None = nobody's is.
    """

    def __init__(
        self,
        log: PackedLog,
        queries: QueryExamples | None,
        config: RetrieverConfig,
        drawn: BoolArray | None = None,
        countries: IntArray | None = None,
    ) -> None:
        self.countries = countries
        self.log, self.max_len = log, config.max_len
        self.slots, self.blind = config.slots, config.blind_share
        self.tasks = config.tasks if config.slots else ("home",)
        self.names_last = "last-item" in config.imputation
        self.queries = ItemQueries(queries, drawn)
        if not len(self.queries):
            self.tasks = tuple(task for task in self.tasks if task != "search")
        if not self.tasks:
            raise DataError(
                "a retriever that learns to search needs queries, and the dataset has none.",
                "Give it some with `with_queries`, or let it learn home.",
            )

    def epoch(self, batch_size: int, random: np.random.Generator) -> Iterator[TrainingBatch]:
        """All rows once, cut at new borders, in steps of about ``batch_size`` events.

        Rows of a step are about equally long, so that little of it is padding; the order of the
        steps is random.
        """
        rows = cut_rows(self.log, self.max_len, random.integers(0, 2**31, len(self.log.starts)))
        lengths = rows.end - rows.begin
        order = np.argsort(lengths + random.random(len(lengths)) * _LENGTH_NOISE, kind="stable")
        steps = np.cumsum(lengths[order]) // batch_size
        parts = np.split(order, np.flatnonzero(np.diff(steps)) + 1) if len(order) else []
        for part in random.permutation(len(parts)).tolist():
            yield self.batch(rows.take(parts[part]), random)

    def batch(self, rows: RowBounds, random: np.random.Generator) -> TrainingBatch:
        """Requests of every task for some rows."""
        parts = []
        if "home" in self.tasks:
            parts.append(self._home(rows, random, self.blind))
        if "similar" in self.tasks:
            parts.append(self._similar(rows, random))
        if "search" in self.tasks:
            parts += [self._search_here(rows, random), self._search_anywhere(rows, random)]
        batch = self._with_history(rows, parts)
        if batch.country is None:
            return batch
        hidden = random.random(batch.country.shape) < _NO_COUNTRY_SHARE
        return replace(batch, country=np.where(hidden, 0, batch.country))

    def asked_batch(self, rows: RowBounds, task: int) -> TrainingBatch:
        """One request of a task per target, always the same ones; rows without one are left out.

        Home sees the whole history; similar asks about the last item before the target and sees
        nothing else; search types the first query of its target and sees the history.
        """
        prefix, source, query, target, weight = self._targets(rows)
        if task == HOME:
            source = source if self.names_last else np.full_like(source, NONE)
            query = np.full_like(query, NONE)
        elif task == SIMILAR:
            target = np.where(source == NONE, NONE, target)
            prefix, query = np.zeros_like(prefix), np.full_like(query, NONE)
        else:
            target, source = np.where(query == NONE, NONE, target), np.full_like(source, NONE)
        requests = _requests(task, prefix, source, query, target, weight)
        return self._with_history(*_only_asked(rows, requests))

    def _with_history(self, rows: RowBounds, parts: list[Requests]) -> TrainingBatch:
        width = int((rows.end - rows.begin).max())
        events = rows.begin[:, None] + np.arange(width)
        inside = events < rows.end[:, None]
        events = np.where(inside, events, rows.begin[:, None])
        gaps = self.log.gaps[events]
        gaps[:, 0] = 0
        prefix, task, source, query, target, weight = (
            np.concatenate(column, 1) for column in zip(*parts, strict=True)
        )
        batch = TrainingBatch(
            self.log.items[events],
            self.log.liked[events],
            gaps,
            np.where(inside, np.arange(width), self.max_len),
            prefix,
            task,
            source,
            query,
            target,
            None if self.log.strengths is None else weight,
        )
        if self.countries is None:
            return batch
        own = self.countries[self.log.users[rows.begin]].astype(np.int64) + 1
        return replace(batch, country=np.where(batch.task == HOME, own[:, None], 0))

    def _strength(self, events: LongArray) -> FloatArray:
        """How much it counts to foretell events; 1 where all count the same."""
        if self.log.strengths is None:
            return np.ones(events.shape, np.float32)
        return self.log.strengths[events]

    def _home(self, rows: RowBounds, random: np.random.Generator, blind: float) -> Requests:
        prefix, source, _, target, weight = self._targets(rows)
        hidden = random.random(prefix.shape) < blind
        nothing = np.full_like(prefix, NONE)
        source = np.where(hidden, NONE, source) if self.names_last else nothing
        return _requests(HOME, np.where(hidden, 0, prefix), source, nothing, target, weight)

    def _targets(
        self, rows: RowBounds
    ) -> tuple[LongArray, LongArray, LongArray, LongArray, FloatArray]:
        """Of all events of the blocks (B, M): what is before, its last, query, item, strength.

        The query is the first one written for the item; -1 = none, or not to be predicted.
        """
        width = int((rows.end - rows.first).max())
        events = rows.first[:, None] + np.arange(width)
        inside = events < rows.end[:, None]
        events = np.where(inside, events, rows.first[:, None])
        inside &= self.log.is_target[events]
        prefix = np.maximum(self.log.strictly_before[events] - rows.begin[:, None], 0)
        last = self.log.items[rows.begin[:, None] + np.maximum(prefix - 1, 0)]
        items = self.log.items[events]
        return (
            prefix,
            np.where(prefix > 0, last, NONE),
            self.queries.first(items),
            np.where(inside, items, NONE),
            self._strength(events),
        )

    def _similar(self, rows: RowBounds, random: np.random.Generator) -> Requests:
        events = self._places(rows, random)
        later = events + 1
        inside = later < rows.end[:, None]
        later = np.where(inside, later, events)
        inside &= self.log.is_target[later]
        prefix = self._some_history(events + 1 - rows.begin[:, None], random)
        target = np.where(inside, self.log.items[later], NONE)
        nothing, weight = np.full_like(prefix, NONE), self._strength(later)
        return _requests(SIMILAR, prefix, self.log.items[events], nothing, target, weight)

    def _search_here(self, rows: RowBounds, random: np.random.Generator) -> Requests:
        """Queries for items that the row's user came to, with the history before them."""
        events = self._places(rows, random)
        items = self.log.items[events]
        query = self.queries.any_of(items, random)
        inside = (query != NONE) & self.log.is_target[events]
        before = np.maximum(self.log.strictly_before[events] - rows.begin[:, None], 0)
        prefix = self._some_history(before, random)
        nothing = np.full_like(prefix, NONE)
        target = np.where(inside, items, NONE)
        query = np.where(inside, query, NONE)
        return _requests(SEARCH, prefix, nothing, query, target, self._strength(events))

    def _search_anywhere(self, rows: RowBounds, random: np.random.Generator) -> Requests:
        """Any queries, without history: also for items that nobody came to."""
        shape = (len(rows.begin), self._drawn_slots(rows))
        query, target = self.queries.anything(shape, random)
        nothing, weight = np.full_like(query, NONE), np.ones(shape, np.float32)
        return _requests(SEARCH, np.zeros_like(query), nothing, query, target, weight)

    def _drawn_slots(self, rows: RowBounds) -> int:
        """``slots`` where the widest block of a step is full, fewer in proportion where it is not.

        Tasks keep their shares of the requests so, however short histories are.
        """
        width = int((rows.end - rows.first).max())
        return -(-self.slots * width // block_size(self.max_len))

    def _places(self, rows: RowBounds, random: np.random.Generator) -> LongArray:
        """(B, drawn slots) random events of each row's block."""
        share = random.random((len(rows.begin), self._drawn_slots(rows)))
        places: LongArray = rows.first[:, None] + (share * (rows.end - rows.first)[:, None]).astype(
            np.int64
        )
        return places

    @staticmethod
    def _some_history(prefix: LongArray, random: np.random.Generator) -> LongArray:
        """Half of the requests see their history, half see none."""
        return np.where(random.random(prefix.shape) < 0.5, prefix, 0)


def _requests(
    task: int,
    prefix: LongArray,
    source: LongArray,
    query: LongArray,
    target: LongArray,
    weight: FloatArray,
) -> Requests:
    return prefix, np.full_like(prefix, task), source, query, target, weight


def _only_asked(rows: RowBounds, requests: Requests) -> tuple[RowBounds, list[Requests]]:
    """Rows that have a request with a target, and their requests, those without to fill up.

    Few events of a row are asked about, and what is not would be computed all the same. Where
    there is nothing to ask about, one row is left.
    """
    wanted = requests[-2] != NONE
    asked = np.flatnonzero(wanted.any(1)) if wanted.any() else np.zeros(1, np.int64)
    wanted = wanted[asked]
    order = np.argsort(~wanted, axis=1, kind="stable")[:, : max(1, wanted.sum(1).max())]
    prefix, task, source, query, target = (
        np.take_along_axis(column[asked], order, 1) for column in requests[:-1]
    )
    weight = np.take_along_axis(requests[-1][asked], order, 1)
    return rows.take(asked), [(prefix, task, source, query, target, weight)]
