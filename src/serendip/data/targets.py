"""Events to be foretold, and what was known of their users when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, IntArray, TimeArray
from serendip.data.query import History, Query, Surface, UserPast
from serendip.data.rejections import Rejections

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A request as it might have been made, and what its user did next.

    Args:
        past: what is known of the user.
        items: (P,) int32 items of the events that follow.
        liked: (P,) bool, which of these events were likes.
        actions: the action of each; empty where the log does not say.
    """

    past: UserPast
    items: IntArray
    liked: BoolArray
    actions: Sequence[str]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Events to be foretold, user by user, each user's in order of time.

    A target is the first event of its user with its item, and not rejected before: what is in the
    history or rejected is never recommended, so it cannot be asked for.

    Args:
        users: T external ids.
        items: (T,) int32 numbers in ``Split.catalogue``.
        times: (T,) float64 Unix seconds.
        places: (T,) place of the target in its user's whole history.
        known: (T,) how many events of that history may be known when the target is asked for.
        histories: user id -> all events, items numbered as in ``Split.catalogue``.
        rejections: user id -> what they rejected and when, in the same numbers.
        actions: user id -> the action of each event of their history; none where it is not known.
    """

    users: Sequence[str]
    items: IntArray
    times: TimeArray
    places: Rows
    known: Rows
    histories: Mapping[str, History]
    rejections: Mapping[str, Rejections] = field(default_factory=dict)
    actions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.users)

    def history(self, row: int) -> History:
        """What the user of a target had chosen when it is asked for, but for what they rejected."""
        return self._past(self.users[row], int(self.known[row]), float(self.times[row])).history

    def moment(self, row: int, count: int) -> Moment:
        """The past of a target, and the user's next ``count`` events from the target on."""
        user, whole = self.users[row], self.histories[self.users[row]]
        following = slice(int(self.places[row]), int(self.places[row]) + count)
        return Moment(
            self._past(user, int(self.known[row]), float(self.times[row])),
            whole.item_nums[following],
            whole.liked[following],
            self.actions.get(user, ())[following],
        )

    def past_before(self, user_id: str, time: float) -> UserPast:
        """What is known of a user of some target before a moment; nothing of other users."""
        whole = self.histories.get(user_id, History())
        known = int(np.searchsorted(whole.timestamps, time, side="left"))
        return self._past(user_id, known, time)

    def queries(self, surface: Surface = "home") -> list[Query]:
        """One query per target; what was chosen or rejected before is excluded from the answer."""
        result = []
        for row, (user, time) in enumerate(zip(self.users, self.times.tolist(), strict=True)):
            known = int(self.known[row])
            past = self._past(user, known, time)
            chosen = self.histories[user].item_nums[:known]
            seen = np.union1d(chosen, past.rejected.item_nums).astype(np.int32)
            query = Query(
                surface,
                user_id=user,
                history=past.history,
                rejected=past.rejected,
                exclude=seen,
                time=time,
            )
            result.append(query)
        return result

    def _past(self, user_id: str, known: int, time: float) -> UserPast:
        """The first ``known`` events of a user, but for what is rejected at a time."""
        whole = self.histories.get(user_id, History())
        history = whole.first(known)
        if user_id not in self.rejections:
            return UserPast(history)
        rejected = self.rejections[user_id].at(time)
        return UserPast(history.without(rejected.item_nums), rejected)
