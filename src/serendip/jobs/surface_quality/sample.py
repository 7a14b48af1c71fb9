"""A sample of requests that is the same in every run, and nearly so when the data grow.

Users and requests are chosen by the order of their hashes, not by a random generator: a request is
in the sample because of what it is. So two trainings, on the data of two days, ask mostly the same
questions, and their answers can be compared in pairs.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]


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
    """Choose at most ``limit`` of T requests, of as many users as possible.

    Every user gives a request before any gives a second one; users and their requests come in the
    order of their hashes.

    Args:
        users: (T,) user of each request.
        key_of: row of a request -> its key.
        limit: 1 or more.

    Returns:
        ascending rows of the chosen requests, and their keys.
    """
    names = {name: number for number, name in enumerate(dict.fromkeys(users))}
    numbers = np.fromiter((names[name] for name in users), np.int64, len(users))  # (T,)
    place = np.full(len(names), -1, np.int64)
    for position, name in enumerate(order_users(names, limit)):
        place[names[name]] = position
    rows = np.flatnonzero(place[numbers] >= 0)
    if not len(rows):
        return np.empty(0, np.intp), np.empty(0, np.uint64)
    keys = np.array([key_of(int(row)) for row in rows], np.uint64)
    places = place[numbers[rows]]
    by_user = np.lexsort((keys, places))
    starts = np.flatnonzero(np.append(True, np.diff(places[by_user]) > 0))
    sizes = np.diff(np.append(starts, len(rows)))
    turn = np.empty(len(rows), np.int64)
    turn[by_user] = np.arange(len(rows)) - np.repeat(starts, sizes)
    chosen = np.sort(np.lexsort((places, turn))[:limit])
    return rows[chosen], keys[chosen]
