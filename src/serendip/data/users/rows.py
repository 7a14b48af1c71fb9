"""Rows of a log by user: one array of row numbers, and no objects per user."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray


class UserRows:
    """The rows of each user's events, given as user numbers (E,) in order of time."""

    __slots__ = ("_bounds", "_order", "_users")

    def __init__(self, users: IntArray) -> None:
        order = np.argsort(users, kind="stable")  # (E,)
        self._users, starts = np.unique(users[order], return_index=True)  # (U,) each
        self._order: NDArray[np.integer] = order
        if len(order) <= np.iinfo(np.int32).max:
            self._order = order.astype(np.int32)
        self._bounds = np.append(starts, len(order))  # (U + 1,)

    def of(self, user: int) -> NDArray[np.integer]:
        """Rows (T,) of a user's events; empty for an unknown user."""
        place = int(np.searchsorted(self._users, user))
        if place == len(self._users) or self._users[place] != user:
            return self._order[:0]
        return self._order[self._bounds[place] : self._bounds[place + 1]]
