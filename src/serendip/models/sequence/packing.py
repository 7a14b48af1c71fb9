"""Histories packed without padding, as numpy arrays; no Python per row.

The events of a batch stand in one line, shorter histories first: those of equal length are a dense
block that needs no copy, no mask and no padding, and everything that treats events alone sees one
matrix with a row per event.

Shapes: S sequences, E their events, B sequences of a batch, T events of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray
from serendip.data.dataset import EventLog
from serendip.data.query import Query

LongArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """Item sequences, oldest first, as slices of one array.

    Args:
        items: (E,) int64 item numbers.
        starts: (S,) int64 where each sequence begins.
        lengths: (S,) int64; 0 is allowed.
    """

    items: LongArray
    starts: LongArray
    lengths: LongArray

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def of_users(cls, log: EventLog, num_users: int) -> Sequences:
        """Sequence u is the history of user number u."""
        order = np.argsort(log.users, kind="stable")
        lengths = np.bincount(log.users, minlength=num_users).astype(np.int64)
        return cls(log.items[order].astype(np.int64), np.cumsum(lengths) - lengths, lengths)

    @classmethod
    def of_queries(cls, queries: Sequence[Query], num_items: int) -> Sequences:
        """What each query knows, without items outside [0, num_items).

        Source items (the item looked at, the cart) replace the history where there are any.
        """
        known = [
            query.source_items if len(query.source_items) else query.history.item_nums
            for query in queries
        ]
        items = np.concatenate(known).astype(np.int64)
        row = np.repeat(np.arange(len(known)), np.fromiter(map(len, known), np.int64))
        inside = (items >= 0) & (items < num_items)
        lengths = np.bincount(row[inside], minlength=len(known)).astype(np.int64)
        return cls(items[inside], np.cumsum(lengths) - lengths, lengths)

    def last(self, count: int) -> Sequences:
        """The ``count`` most recent events of each."""
        lengths = np.minimum(self.lengths, count)
        return Sequences(self.items, self.starts + self.lengths - lengths, lengths)

    def without_last(self, shortened: LongArray) -> Sequences:
        """The same with one event less at the end of some sequences (their numbers)."""
        lengths = self.lengths.copy()
        lengths[shortened] -= 1
        return Sequences(self.items, self.starts, lengths)

    def windows(self, most: int, random: np.random.Generator) -> Sequences:
        """All events that have a successor, cut into sequences of at most ``most`` events.

        A long history is cut at borders that are drawn anew with every call. The successor of an
        event is the next one in ``items``.
        """
        lengths = np.maximum(self.lengths - 1, 0)
        offsets = np.where(lengths > most, random.integers(0, most, len(lengths)), 0)
        counts = -(-(lengths + offsets) // most)
        user = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
        begin = number * most - offsets[user]
        end = np.minimum(begin + most, lengths[user])
        begin = np.maximum(begin, 0)
        return Sequences(self.items, self.starts[user] + begin, end - begin)


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Some sequences in one line, shorter ones first.

    Args:
        rows: (B,) numbers of the sequences, in the order in which they stand here.
        events: (T,) int64 where each event stands in ``Sequences.items``.
        last: (B,) int64 where in the line each sequence ends.
        blocks: (first event, sequences, length) of each run of sequences of one length.
    """

    rows: LongArray
    events: LongArray
    last: LongArray
    blocks: Sequence[tuple[int, int, int]]


def pack(sequences: Sequences, rows: LongArray) -> Packed:
    """Put sequences of one event or more in line; equally long ones keep their order."""
    lengths = sequences.lengths[rows]
    order = np.argsort(lengths, kind="stable")
    rows, lengths = rows[order], lengths[order]
    ends = np.cumsum(lengths)
    places = np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)
    events = np.repeat(sequences.starts[rows], lengths) + places
    distinct, first, count = np.unique(lengths, return_index=True, return_counts=True)
    begins = (ends - lengths)[first]
    blocks = list(zip(begins.tolist(), count.tolist(), distinct.tolist(), strict=True))
    return Packed(rows, events, ends - 1, blocks)


def batches(sequences: Sequences, size: int, random: np.random.Generator) -> Iterator[Packed]:
    """All sequences once, in random order, in batches of about ``size`` events."""
    order = random.permutation(np.flatnonzero(sequences.lengths))
    if not len(order):
        return
    ends = np.cumsum(sequences.lengths[order])
    count = max(1, round(int(ends[-1]) / size))
    number = (ends - 1) * count // ends[-1]
    for rows in np.split(order, np.flatnonzero(np.diff(number)) + 1):
        yield pack(sequences, rows)


def batches_in_order(sequences: Sequences, rows: IntArray, size: int) -> Iterator[Packed]:
    """Batches of ``size`` sequences as they stand; empty ones are left out."""
    filled = rows[sequences.lengths[rows] > 0].astype(np.int64)
    for start in range(0, len(filled), size):
        yield pack(sequences, filled[start : start + size])
