"""Training batches of the retriever: packed event log, row cutting, request sampling. Vectorised.

A user's events, packed one user after the other (``PackedLog``), are cut into blocks of targets;
each row holds one block and the events before it (``cut_rows``). The requests of a row are: for
every target a home request that sees only events strictly before the target's second (as when
serving), a few similar requests (item -> next item) and a few search requests (query -> its item,
by ``ItemQueries``). A share of the requests sees no history. If users' countries are known, home
requests carry them, with some hidden at random.

Everything is numpy arrays; there is no Python loop per row.

Shapes: B rows, T steps of a row, M requests per row, Q example queries, U users; in ``PackedLog`` E
is the number of events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from serendip.data import BoolArray, EventLog, FloatArray, IntArray, QueryExamples
from serendip.errors import DataError
from serendip.models.retriever.config import RetrieverConfig, block_size
from serendip.models.retriever.requests import HOME, NONE, SEARCH, SIMILAR, LongArray, gap_buckets


class PackedLog:
    """Event log grouped by user, oldest first, ready to be cut into rows.

    Columns are as narrow as their values: a training has several logs of all events in memory.

    Args:
        is_target: (E,) events that may be predicted; None = all.
    """

    def __init__(self, log: EventLog, is_target: BoolArray | None = None) -> None:
        order = np.argsort(log.users, kind="stable")
        self.users = log.users[order]
        self.items = log.items[order]
        self.liked = log.liked[order]
        self.is_target = np.ones(len(order), np.bool_) if is_target is None else is_target[order]
        self.strengths = None if log.strengths is None else log.strengths[order]
        times = log.timestamps[order]
        new_user = np.r_[True, self.users[1:] != self.users[:-1]][: len(order)]
        gaps = np.r_[np.nan, np.diff(times)][: len(order)]
        gaps[new_user] = np.nan
        self.gaps = gap_buckets(gaps).astype(np.int8)
        self.starts = np.flatnonzero(new_user)  # (users with events,) first event of each user
        self.lengths = np.diff(np.r_[self.starts, len(order)])  # (users with events,)
        first_of_second = np.isnan(gaps) | (gaps > 0)
        index = np.arange(len(order), dtype=np.int32)
        # (E,) index of the first event of the same second: the events before it are strictly before
        self.strictly_before = np.maximum.accumulate(np.where(first_of_second, index, 0))

    def items_of(self, events: LongArray) -> LongArray:
        """Items of events of any shape."""
        return self.items[events].astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class RowBounds:
    """Row r holds events ``begin[r]:end[r]`` of a log; targets start at ``first[r]``."""

    begin: LongArray
    first: LongArray
    end: LongArray

    def take(self, rows: LongArray) -> RowBounds:
        """Select rows."""
        return RowBounds(self.begin[rows], self.first[rows], self.end[rows])


def cut_rows(log: PackedLog, max_len: int, offsets: LongArray) -> RowBounds:
    """Cut every user's events into blocks of ``block_size`` targets, each with the events before.

    Rows of at most ``max_len`` events; those without a target are left out. Offsets (users with
    events,) shift each user's first border.
    """
    block = block_size(max_len)
    offsets = offsets % block
    counts = (log.lengths + offsets + block - 1) // block  # (users with events,) blocks of a user
    user = np.repeat(np.arange(len(counts)), counts)  # (all blocks,)
    number = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    start, stop = log.starts[user], log.starts[user] + log.lengths[user]
    first = start + number * block - offsets[user]
    begin = np.maximum(first - (max_len - block), start)
    rows = RowBounds(begin, np.maximum(first, start), np.minimum(first + block, stop))
    sums = np.r_[0, np.cumsum(log.is_target)]  # (E + 1,) targets before each event
    return rows.take(np.flatnonzero(sums[rows.end] > sums[rows.first]))


class ItemQueries:
    """Index of example queries by the item that each should find.

    Args:
        examples: Q queries; None = none.
        drawn: (Q,) queries that are used; None = all.
    """

    def __init__(self, examples: QueryExamples | None, drawn: BoolArray | None = None) -> None:
        self._items = np.empty(0, np.int64) if examples is None else examples.items.astype(np.int64)
        order = np.argsort(self._items, kind="stable")
        self._order = order if drawn is None else order[drawn[order]]
        self._ordered = self._items[self._order]

    def __len__(self) -> int:
        return len(self._order)

    def first(self, items: LongArray) -> LongArray:
        """First query of each item; -1 = the item has none."""
        return self._at(np.searchsorted(self._ordered, items), items)

    def any_of(self, items: LongArray, random: np.random.Generator) -> LongArray:
        """Random query of each item; -1 = the item has none."""
        low = np.searchsorted(self._ordered, items)
        high = np.searchsorted(self._ordered, items, side="right")
        places = low + (random.random(items.shape) * (high - low)).astype(np.int64)
        return self._at(places, items)

    def anything(
        self, shape: tuple[int, ...], random: np.random.Generator
    ) -> tuple[LongArray, LongArray]:
        """Draw any queries, each with its item."""
        queries = self._order[random.integers(0, len(self._order), shape)]
        return queries, self._items[queries]

    def _at(self, places: LongArray, items: LongArray) -> LongArray:
        """Queries at positions in item order; -1 if the query there is of another item."""
        if not len(self):
            return np.full(places.shape, NONE, np.int64)
        places = np.minimum(places, len(self) - 1)
        return np.where(self._ordered[places] == items, self._order[places], NONE)


_NO_COUNTRY_SHARE = 0.2
"""Share of home requests whose country is hidden, so that an unknown one is in distribution."""

_LENGTH_NOISE = 1.5
"""Noise on row lengths before sorting: rows of similar length mix, so that steps differ."""


Requests = tuple[LongArray, LongArray, LongArray, LongArray, LongArray, FloatArray]
"""Prefix, task, source, query, target and weight of the requests of each row, (B, M) each."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """One step of training.

    Args:
        items, liked, gaps, places: (B, T) int64 history; ``places`` = ``max_len`` for padding.
        prefix, task, source, query, target: (B, M) int64; -1 = no source, query or target. All
            rows have the same tasks in the same order, searches last.
        weight: (B, M) float32 weight of each request in the loss.
        country: (B, M) int64, 1 + index of the country; 0 = unknown. None = all unknown.
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
    weight: FloatArray
    country: LongArray | None = None

    @property
    def used_items(self) -> LongArray:
        """Items of histories and sources, with repetitions; 0 stands for a missing source."""
        return np.concatenate([self.items.ravel(), np.maximum(self.source, 0).ravel()])

    @property
    def num_searches(self) -> int:
        """Searches among the requests of each row."""
        return int((self.task[0] == SEARCH).sum())


class BatchBuilder:
    """Builds training and validation batches: draws the requests of rows.

    Args:
        log: the events.
        queries: Q examples of the search task; None = no such task.
        config: ``max_len``, ``tasks``, ``slots`` and ``blind_share`` are read.
        drawn: (Q,) queries that are used; None = all.
        countries: (U,) index of each user's country, -1 = unknown; None = all unknown.
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
        self.queries = ItemQueries(queries, drawn)
        if not len(self.queries):
            self.tasks = tuple(task for task in self.tasks if task != "search")
        if not self.tasks:
            raise DataError(
                "a retriever for the search task alone needs queries, and the dataset has none.",
                "Add some with `with_queries`, or add home to `tasks`.",
            )

    def epoch(self, batch_size: int, random: np.random.Generator) -> Iterator[TrainingBatch]:
        """Yield batches of all rows; see ``cut_epoch``."""
        for rows in self.cut_epoch(batch_size, random):
            yield self.batch(rows, random)

    def cut_epoch(self, batch_size: int, random: np.random.Generator) -> list[RowBounds]:
        """Cut all rows at new borders, in steps of about ``batch_size`` events.

        Rows of a step have similar lengths, so that there is little padding; the order of the steps
        is random.
        """
        rows = cut_rows(self.log, self.max_len, random.integers(0, 2**31, len(self.log.starts)))
        lengths = rows.end - rows.begin
        order = np.argsort(lengths + random.random(len(lengths)) * _LENGTH_NOISE, kind="stable")
        steps = np.cumsum(lengths[order]) // batch_size
        parts = np.split(order, np.flatnonzero(np.diff(steps)) + 1) if len(order) else []
        return [rows.take(parts[part]) for part in random.permutation(len(parts)).tolist()]

    def batch(self, rows: RowBounds, random: np.random.Generator) -> TrainingBatch:
        """Draw requests of every task for some rows."""
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
        """Build validation requests: one of ``task`` per target, without sampling.

        Home sees the whole history; similar has the last item before the target as its source and
        sees nothing else; search has the first query of its target and sees the history. Rows
        without a target are left out.
        """
        prefix, source, query, target, weight = self._targets(rows)  # (B, M) each
        if task == HOME:
            query = np.full_like(query, NONE)
        elif task == SIMILAR:
            target = np.where(source == NONE, NONE, target)
            prefix, query = np.zeros_like(prefix), np.full_like(query, NONE)
        else:
            target, source = np.where(query == NONE, NONE, target), np.full_like(source, NONE)
        requests = _requests(task, prefix, source, query, target, weight)
        return self._with_history(*_drop_empty(rows, requests))

    def _with_history(self, rows: RowBounds, parts: list[Requests]) -> TrainingBatch:
        """Join parts of requests (B, M) with the history (B, T) of their rows."""
        width = int((rows.end - rows.begin).max())
        events = rows.begin[:, None] + np.arange(width)  # (B, T)
        inside = events < rows.end[:, None]
        # Padding repeats the first event; its place ``max_len`` hides it.
        events = np.where(inside, events, rows.begin[:, None])
        gaps = self.log.gaps[events].astype(np.int64)
        # The step before the first one of a row is not in it.
        gaps[:, 0] = 0
        prefix, task, source, query, target, weight = (
            np.concatenate(column, 1) for column in zip(*parts, strict=True)
        )  # (B, M) each
        batch = TrainingBatch(
            self.log.items_of(events),
            self.log.liked[events].astype(np.int64),
            gaps,
            np.where(inside, np.arange(width), self.max_len),
            prefix,
            task,
            source,
            query,
            target,
            weight,
        )
        if self.countries is None:
            return batch
        country = self.countries[self.log.users[rows.begin]].astype(np.int64) + 1  # (B,)
        return replace(batch, country=np.where(batch.task == HOME, country[:, None], 0))

    def _strength(self, events: LongArray) -> FloatArray:
        """Weight of events as targets in the loss; 1 if the log has no strengths."""
        if self.log.strengths is None:
            return np.ones(events.shape, np.float32)
        return self.log.strengths[events]

    def _home(self, rows: RowBounds, random: np.random.Generator, blind: float) -> Requests:
        """Home requests, one per target, a share of ``blind`` of them without history."""
        prefix, source, _, target, weight = self._targets(rows)
        hidden = random.random(prefix.shape) < blind
        nothing = np.full_like(prefix, NONE)
        source = np.where(hidden, NONE, source)
        return _requests(HOME, np.where(hidden, 0, prefix), source, nothing, target, weight)

    def _targets(
        self, rows: RowBounds
    ) -> tuple[LongArray, LongArray, LongArray, LongArray, FloatArray]:
        """For each target event (B, M): prefix length, last visible item, query, target, weight.

        The query is the item's first example query. -1 = no visible item, no query, or an event
        that is not to be predicted.
        """
        width = int((rows.end - rows.first).max())
        events = rows.first[:, None] + np.arange(width)  # (B, M)
        inside = events < rows.end[:, None]
        events = np.where(inside, events, rows.first[:, None])
        inside &= self.log.is_target[events]
        prefix = np.maximum(self.log.strictly_before[events] - rows.begin[:, None], 0)
        last = self.log.items_of(rows.begin[:, None] + np.maximum(prefix - 1, 0))
        items = self.log.items_of(events)
        return (
            prefix,
            np.where(prefix > 0, last, NONE),
            self.queries.first(items),
            np.where(inside, items, NONE),
            self._strength(events),
        )

    def _similar(self, rows: RowBounds, random: np.random.Generator) -> Requests:
        """Similar requests about random items; the target is the next item."""
        events = self._places(rows, random)  # (B, M)
        later = events + 1
        inside = later < rows.end[:, None]
        later = np.where(inside, later, events)
        inside &= self.log.is_target[later]
        prefix = self._some_history(events + 1 - rows.begin[:, None], random)
        target = np.where(inside, self.log.items_of(later), NONE)
        nothing, weight = np.full_like(prefix, NONE), self._strength(later)
        return _requests(SIMILAR, prefix, self.log.items_of(events), nothing, target, weight)

    def _search_here(self, rows: RowBounds, random: np.random.Generator) -> Requests:
        """Search requests for random items of the row, half of them with the history before."""
        events = self._places(rows, random)  # (B, M)
        items = self.log.items_of(events)
        query = self.queries.any_of(items, random)
        inside = (query != NONE) & self.log.is_target[events]
        before = np.maximum(self.log.strictly_before[events] - rows.begin[:, None], 0)
        prefix = self._some_history(before, random)
        nothing = np.full_like(prefix, NONE)
        target = np.where(inside, items, NONE)
        query = np.where(inside, query, NONE)
        return _requests(SEARCH, prefix, nothing, query, target, self._strength(events))

    def _search_anywhere(self, rows: RowBounds, random: np.random.Generator) -> Requests:
        """Search requests of random queries, without history: they cover items without events."""
        shape = (len(rows.begin), self._num_slots(rows))
        query, target = self.queries.anything(shape, random)
        nothing, weight = np.full_like(query, NONE), np.ones(shape, np.float32)
        return _requests(SEARCH, np.zeros_like(query), nothing, query, target, weight)

    def _num_slots(self, rows: RowBounds) -> int:
        """``slots``, scaled down in proportion if the widest block of the step is not full.

        This keeps the tasks' shares of the requests, however short histories are.
        """
        width = int((rows.end - rows.first).max())
        return -(-self.slots * width // block_size(self.max_len))

    def _places(self, rows: RowBounds, random: np.random.Generator) -> LongArray:
        """Random events (B, slots) of each row's block."""
        share = random.random((len(rows.begin), self._num_slots(rows)))
        places: LongArray = rows.first[:, None] + (share * (rows.end - rows.first)[:, None]).astype(
            np.int64
        )
        return places

    @staticmethod
    def _some_history(prefix: LongArray, random: np.random.Generator) -> LongArray:
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


def _drop_empty(rows: RowBounds, requests: Requests) -> tuple[RowBounds, list[Requests]]:
    """Drop rows without a target, and move requests with a target to the front of their row.

    M shrinks to the most targets of a row. Few events of a row are validation targets, and requests
    without one would cost as much as the others. If there is no target at all, one row is left.
    """
    has_target = requests[-2] != NONE  # (B, M)
    kept = np.flatnonzero(has_target.any(1)) if has_target.any() else np.zeros(1, np.int64)
    has_target = has_target[kept]
    order = np.argsort(~has_target, axis=1, kind="stable")[:, : max(1, has_target.sum(1).max())]
    prefix, task, source, query, target = (
        np.take_along_axis(column[kept], order, 1) for column in requests[:-1]
    )
    weight = np.take_along_axis(requests[-1][kept], order, 1)
    return rows.take(kept), [(prefix, task, source, query, target, weight)]
