"""A sample of requests that is the same in every run, and nearly so when the data grow.

Users and requests are chosen by the order of their hashes, not by a random generator: a request is
in the sample because of what it is. So two trainings, on the data of two days, ask mostly the same
questions, and their answers can be compared in pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]


def hash_key(*parts: str | float) -> int:
    """64-bit key of what identifies a request."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


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
    if not len(users):
        return np.empty(0, np.intp), np.empty(0, np.uint64)
    names, numbers = np.unique(np.asarray(users), return_inverse=True)
    order = sorted(range(len(names)), key=lambda number: hash_key(str(names[number])))[:limit]
    place = np.full(len(names), -1, np.int64)
    place[order] = np.arange(len(order))
    rows = np.flatnonzero(place[numbers.reshape(-1)] >= 0)
    keys = np.array([key_of(int(row)) for row in rows], np.uint64)
    places = place[numbers.reshape(-1)[rows]]
    by_user = np.lexsort((keys, places))
    starts = np.flatnonzero(np.append(True, np.diff(places[by_user]) > 0))
    sizes = np.diff(np.append(starts, len(rows)))
    turn = np.empty(len(rows), np.int64)
    turn[by_user] = np.arange(len(rows)) - np.repeat(starts, sizes)
    chosen = np.sort(np.lexsort((places, turn))[:limit])
    return rows[chosen], keys[chosen]
