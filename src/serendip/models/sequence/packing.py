"""Sequence packing: batches of histories without padding, as numpy arrays; no Python loop per row.

The events of a batch are concatenated into one line, shorter histories first. Histories of equal
length form a dense block that needs no copy, mask or padding, and everything that works on single
events sees one matrix with a row per event.

Shapes: S sequences, E their events, B sequences of a batch, T events of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data import EventLog, IntArray, Query

LongArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """Item sequences, oldest first, as slices of one array.

    Args:
        items: (E,) int64 item numbers.
        starts: (S,) int64 first event of each sequence.
        lengths: (S,) int64; 0 is allowed.
    """

    items: LongArray
    starts: LongArray
    lengths: LongArray

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def of_users(cls, log: EventLog, num_users: int) -> Sequences:
        """Group events by user: sequence u is the history of user number u."""
        order = np.argsort(log.users, kind="stable")
        lengths = np.bincount(log.users, minlength=num_users).astype(np.int64)
        return cls(log.items[order].astype(np.int64), np.cumsum(lengths) - lengths, lengths)

    @classmethod
    def of_queries(cls, queries: Sequence[Query], num_items: int) -> Sequences:
        """Items of each query, without those outside [0, num_items).

        Source items (the item looked at, the cart) replace the history if there are any.
        """
        parts = [
            query.source_items if len(query.source_items) else query.history.item_nums
            for query in queries
        ]
        items = np.concatenate(parts).astype(np.int64)
        row = np.repeat(np.arange(len(parts)), np.fromiter(map(len, parts), np.int64))
        inside = (items >= 0) & (items < num_items)
        lengths = np.bincount(row[inside], minlength=len(parts)).astype(np.int64)
        return cls(items[inside], np.cumsum(lengths) - lengths, lengths)

    def last(self, count: int) -> Sequences:
        """Truncate to the ``count`` most recent events of each sequence."""
        lengths = np.minimum(self.lengths, count)
        return Sequences(self.items, self.starts + self.lengths - lengths, lengths)

    def without_last(self, shortened: LongArray) -> Sequences:
        """Drop the last event of some sequences, given by number."""
        lengths = self.lengths.copy()
        lengths[shortened] -= 1
        return Sequences(self.items, self.starts, lengths)

    def windows(self, most: int, random: np.random.Generator) -> Sequences:
        """Cut all events that have a successor into sequences of at most ``most`` events.

        The borders in long histories are drawn anew with every call. The successor of an event is
        the next one in ``items``.
        """
        lengths = np.maximum(self.lengths - 1, 0)  # (S,) events with a successor
        offsets = np.where(lengths > most, random.integers(0, most, len(lengths)), 0)
        counts = -(-(lengths + offsets) // most)  # (S,) windows of each sequence
        user = np.repeat(np.arange(len(counts)), counts)  # (windows,)
        number = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
        begin = number * most - offsets[user]
        end = np.minimum(begin + most, lengths[user])
        begin = np.maximum(begin, 0)
        return Sequences(self.items, self.starts[user] + begin, end - begin)


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Sequences concatenated into one line, shorter ones first.

    Args:
        rows: (B,) numbers of the sequences, in the order of the line.
        events: (T,) int64 index of each event in ``Sequences.items``.
        last: (B,) int64 index in the line of each sequence's last event.
        blocks: (first event, sequences, length) of each run of sequences of equal length.
    """

    rows: LongArray
    events: LongArray
    last: LongArray
    blocks: Sequence[tuple[int, int, int]]


def pack(sequences: Sequences, rows: LongArray) -> Packed:
    """Concatenate sequences ``rows`` (B,), none empty; equally long ones keep their order."""
    lengths = sequences.lengths[rows]
    order = np.argsort(lengths, kind="stable")
    rows, lengths = rows[order], lengths[order]
    ends = np.cumsum(lengths)
    positions = np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)  # (T,)
    events = np.repeat(sequences.starts[rows], lengths) + positions
    distinct, first, count = np.unique(lengths, return_index=True, return_counts=True)
    begins = (ends - lengths)[first]
    blocks = list(zip(begins.tolist(), count.tolist(), distinct.tolist(), strict=True))
    return Packed(rows, events, ends - 1, blocks)


def batches(sequences: Sequences, size: int, random: np.random.Generator) -> Iterator[Packed]:
    """Yield all sequences once, in random order, in batches of about ``size`` events."""
    order = random.permutation(np.flatnonzero(sequences.lengths))
    if not len(order):
        return
    ends = np.cumsum(sequences.lengths[order])
    count = max(1, round(int(ends[-1]) / size))
    number = (ends - 1) * count // ends[-1]
    for rows in np.split(order, np.flatnonzero(np.diff(number)) + 1):
        yield pack(sequences, rows)


def batches_in_order(sequences: Sequences, rows: IntArray, size: int) -> Iterator[Packed]:
    """Yield batches of ``size`` sequences in the order of ``rows`` (S,), without empty ones."""
    filled = rows[sequences.lengths[rows] > 0].astype(np.int64)
    for start in range(0, len(filled), size):
        yield pack(sequences, filled[start : start + size])
