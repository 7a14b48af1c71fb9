"""Rows of a log by user, and mappings by user that make their values when they are read.

A log of many users has one array of row numbers, and no objects per user.

Shapes: E events, U users with events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray
from serendip.data.vocabulary import MISSING, Vocabulary

_V = TypeVar("_V")


class UserRows:
    """The rows of each user's events, in order of time.

    Args:
        users: (E,) int32 user numbers of the events, which are in order of time.
    """

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


class ByUser(Mapping[str, _V], Generic[_V]):
    """User id -> a value that is made whenever it is read.

    Args:
        users: numbers of the users, ascending.
        ids: of all users.
        value_of: makes the value of a user by number.
    """

    __slots__ = ("_ids", "_users", "_value_of")

    def __init__(self, users: IntArray, ids: Vocabulary, value_of: Callable[[int], _V]) -> None:
        self._users, self._ids, self._value_of = users, ids, value_of

    def __getitem__(self, user_id: str) -> _V:
        number = self._number(user_id)
        if number == MISSING:
            raise KeyError(user_id)
        return self._value_of(number)

    def __contains__(self, user_id: object) -> bool:
        return isinstance(user_id, str) and self._number(user_id) != MISSING

    def __iter__(self) -> Iterator[str]:
        return (self._ids.id(number) for number in self._users.tolist())

    def __len__(self) -> int:
        return len(self._users)

    def _number(self, user_id: str) -> int:
        number = self._ids.number(user_id)
        place = int(np.searchsorted(self._users, number))
        is_one = place < len(self._users) and self._users[place] == number
        return number if is_one else MISSING
