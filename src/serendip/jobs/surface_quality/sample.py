"""A sample of requests that is the same in every run, and nearly so when the data grow.

Users and requests are chosen by the order of their hashes, not by a random generator: a request is
in the sample because of what it is. So two trainings, on the data of two days, ask mostly the same
questions, and their answers can be compared in pairs.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from serendip.evaluate.runs import Keys

Row = TypeVar("Row")


def hash_key(*parts: str | float) -> int:
    """64-bit key of what identifies a request."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def order_users(users: Iterable[str], limit: int) -> list[str]:
    """The first ``limit`` users by the order of their hashes."""
    return heapq.nsmallest(limit, users, key=hash_key)


def sample_requests(
    users: Sequence[str], key_of: Callable[[int], int], limit: int
) -> tuple[NDArray[np.intp], Keys]:
    """Choose at most ``limit``, 1 or more, of T requests, of as many users as possible.

    Every user gives a request before any gives a second one; users and their requests come in the
    order of their hashes. ``key_of`` gives the key of a row. Returns ascending rows of the chosen
    requests, and their keys.
    """
    rows_of: dict[str, list[int]] = {name: [] for name in order_users(set(users), limit)}
    for row, name in enumerate(users):
        if name in rows_of:
            rows_of[name].append(row)
    keyed = [sorted((key_of(row), row) for row in rows) for rows in rows_of.values()]
    chosen = sorted((row, key) for key, row in islice(take_turns(keyed), limit))
    rows, keys = zip(*chosen, strict=True) if chosen else ((), ())
    return np.array(rows, np.intp), np.array(keys, np.uint64)


def take_turns(groups: Sequence[Sequence[Row]]) -> Iterator[Row]:
    """The first of each group, then the second of each, and so on."""
    for row in range(max(map(len, groups), default=0)):
        yield from (group[row] for group in groups if row < len(group))
