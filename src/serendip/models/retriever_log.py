"""Events of users, packed and cut into rows for training; no Python per row.

A user's events are cut into blocks of targets; each row holds one block and the events before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import BoolArray
from serendip.data.dataset import EventLog
from serendip.models.retriever_context import LongArray, gap_buckets


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
class Rows:
    """Row r holds events ``begin[r]:end[r]`` of a log; targets start at ``first[r]``."""

    begin: LongArray
    first: LongArray
    end: LongArray

    def take(self, rows: LongArray) -> Rows:
        """Some of the rows."""
        return Rows(self.begin[rows], self.first[rows], self.end[rows])


def block_size(max_len: int) -> int:
    """Targets of a full row of ``max_len`` events."""
    return max(1, max_len // 2)


def cut_rows(log: PackedLog, max_len: int, offsets: LongArray) -> Rows:
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
    rows = Rows(begin, np.maximum(first, start), np.minimum(first + block, stop))
    sums = np.r_[0, np.cumsum(log.is_target)]
    return rows.take(np.flatnonzero(sums[rows.end] > sums[rows.first]))
