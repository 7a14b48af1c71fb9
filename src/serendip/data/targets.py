"""Events to be foretold, and what was known of their users when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, IntArray, TimeArray
from serendip.data.query import History, Query, Surface

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Events to be foretold, user by user, each user's in order of time.

    A target is the first event of its user with its item: what is in the history is never
    recommended, so it cannot be asked for.

    Args:
        users: T external ids.
        items: (T,) int32 numbers in ``Split.catalogue``.
        times: (T,) float64 Unix seconds.
        places: (T,) place of the target in its user's whole history.
        known: (T,) how many events of that history may be known when the target is asked for.
        histories: user id -> all events, items numbered as in ``Split.catalogue``.
    """

    users: Sequence[str]
    items: IntArray
    times: TimeArray
    places: Rows
    known: Rows
    histories: Mapping[str, History]

    def __len__(self) -> int:
        return len(self.users)

    def history(self, row: int) -> History:
        """What the user of a target had done when it is asked for."""
        known = int(self.known[row])
        whole = self.histories[self.users[row]]
        return History(whole.item_nums[:known], whole.timestamps[:known], whole.liked[:known])

    def moment(self, row: int, count: int) -> tuple[History, IntArray, BoolArray]:
        """The history of a target, and the user's next ``count`` events from the target on.

        Returns:
            history, item numbers (at most ``count``) and which of them were liked.
        """
        whole = self.histories[self.users[row]]
        following = slice(int(self.places[row]), int(self.places[row]) + count)
        return self.history(row), whole.item_nums[following], whole.liked[following]

    def history_before(self, user_id: str, time: float) -> History:
        """What a user of some target had done before a moment; nothing of other users."""
        whole = self.histories.get(user_id, History())
        known = int(np.searchsorted(whole.timestamps, time, side="left"))
        return History(whole.item_nums[:known], whole.timestamps[:known], whole.liked[:known])

    def queries(self, surface: Surface = "home") -> list[Query]:
        """One query per target; items of the history are excluded from the answer."""
        result = []
        for row, (user, time) in enumerate(zip(self.users, self.times.tolist(), strict=True)):
            history = self.history(row)
            seen = np.unique(history.item_nums)
            result.append(Query(surface, user_id=user, history=history, exclude=seen, time=time))
        return result
