"""What users did, as arrays in memory: requests read a past of thousands of events in no time.

A user's events are read from the store at the first request and kept; from then on the log is
followed: before every answer, events that anybody (other processes, too) appended since are read
and added to the pasts they belong to. So an event is in the first answer after its write returned,
and none is read twice. What is kept is dropped when events were taken out of the log (an import),
when too many came at once, and, least recently used first, when there is too much of it.

Numbers are those of one generation: an engine has its own ``UserHistories``, which ends with it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.arrays import IntArray, TimeArray
from serendip.data.event import ActionRules, EventColumns
from serendip.data.feedback import Feedback, what_stands
from serendip.data.query import UserPast
from serendip.data.store.store import Store
from serendip.data.vocabulary import MISSING, Vocabulary

MOST_EVENTS = 2_000_000
"""Events kept over all users; one takes 16 bytes."""

_FOLLOWED = 1_000
"""More new events at once are not followed: what is kept is dropped, which costs less."""

_OVERHEAD = 20
"""A past takes about as much memory as so many of its events on top of them."""


@dataclass(frozen=True, slots=True, eq=False)
class UserHistory:
    """Everything that one user said of items.

    Args:
        item_nums: (T,) int32 of their events in order of time; unknown items are -1.
        timestamps: (T,) float64 Unix seconds, non-decreasing.
        feedback: of the T events.
        unknown: place -> id of unknown items; they may be posted later.
        num_known: size of the vocabulary that the ids were looked up in.
        seq: number of the last event of the log that was looked at.
        stands: what all of it comes to.
    """

    item_nums: IntArray
    timestamps: TimeArray
    feedback: Feedback
    unknown: tuple[tuple[int, str], ...]
    num_known: int
    seq: int
    stands: UserPast

    @classmethod
    def of(
        cls, events: EventColumns, rules: ActionRules, vocabulary: Vocabulary, seq: int
    ) -> UserHistory:
        """From all events of a user in order of time; what says nothing of its item is left out."""
        feedback = Feedback.of(events, rules)
        rows = np.flatnonzero(feedback.interest | feedback.rejects)
        feedback, times = feedback.rows(rows), events.timestamps[rows]
        numbers = vocabulary.numbers(events.item_ids[row] for row in rows.tolist())
        missing = np.flatnonzero(numbers == MISSING).tolist()
        unknown = tuple((place, events.item_ids[rows[place]]) for place in missing)
        stands = what_stands(numbers, times, feedback)
        return cls(numbers, times, feedback, unknown, len(vocabulary), seq, stands)

    def __len__(self) -> int:
        return len(self.item_nums)

    def merged(self, newer: UserHistory) -> UserHistory:
        """With events that were appended to the log after all of these, whenever they happened."""
        if not len(newer):
            return replace(self, seq=newer.seq)
        times = np.concatenate([self.timestamps, newer.timestamps])
        order = np.argsort(times, kind="stable")
        numbers = np.concatenate([self.item_nums, newer.item_nums])[order]
        feedback = self.feedback.joined(newer.feedback).rows(order)
        shifted = ((place + len(self), name) for place, name in newer.unknown)
        places = np.argsort(order)
        unknown = tuple((int(places[at]), name) for at, name in (*self.unknown, *shifted))
        known = min(self.num_known, newer.num_known)
        stands = what_stands(numbers, times[order], feedback)
        return UserHistory(numbers, times[order], feedback, unknown, known, newer.seq, stands)

    def known_to(self, vocabulary: Vocabulary) -> UserHistory:
        """With numbers for items that were posted since."""
        if not self.unknown or self.num_known >= len(vocabulary):
            return self
        numbers = self.item_nums.copy()
        for place, name in self.unknown:
            numbers[place] = vocabulary.number(name)
        unknown = tuple(one for one in self.unknown if numbers[one[0]] == MISSING)
        return replace(
            self,
            item_nums=numbers,
            unknown=unknown,
            num_known=len(vocabulary),
            stands=what_stands(numbers, self.timestamps, self.feedback),
        )


class UserHistories:
    """Histories of the users of one store; safe to use from many threads.

    Args:
        store: where events are.
        rules: which of them are interactions, likes or negative.
        most_events: kept over all users.
    """

    def __init__(self, store: Store, rules: ActionRules, most_events: int = MOST_EVENTS) -> None:
        self._log = store.log
        self._rules = rules
        self._most = most_events
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, UserHistory] = OrderedDict()
        self._size = 0
        self._mark = self._log.mark()

    def of(self, user_id: str, vocabulary: Vocabulary) -> UserPast:
        """What a user chose and rejected among the items of a vocabulary.

        Args:
            user_id: external id; an unknown one has an empty past.
            vocabulary: the generation's, or one that it was extended to since.
        """
        with self._lock:
            self._follow(vocabulary)
            past = self._kept.get(user_id)
            if past is None:
                events, seq = self._log.past(user_id, self._rules.ignore)
                past = UserHistory.of(events, self._rules, vocabulary, seq)
            past = past.known_to(vocabulary)
            self._keep(user_id, past)
        return past.stands.known(len(vocabulary))

    @property
    def num_events(self) -> int:
        """Events in memory."""
        return sum(map(len, self._kept.values()))

    def _follow(self, vocabulary: Vocabulary) -> None:
        """Take in what was appended to the log since the last request."""
        mark, events, seqs = self._log.after(self._mark.seq, _FOLLOWED)
        if mark.removals != self._mark.removals or mark.seq > self._mark.seq + _FOLLOWED:
            self._kept.clear()
            self._size = 0
        self._mark = mark
        for user_id in set(events.user_ids) & self._kept.keys():
            past = self._kept[user_id]
            rows = [row for row, seq in enumerate(seqs) if seq > past.seq]
            rows = [row for row in rows if events.user_ids[row] == user_id]
            newer = UserHistory.of(events.rows(rows), self._rules, vocabulary, mark.seq)
            self._keep(user_id, past.merged(newer))

    def _keep(self, user_id: str, past: UserHistory) -> None:
        """Put a past in the newest place; the oldest go where there is no room."""
        before = self._kept.pop(user_id, None)
        self._size += _size(past) - (0 if before is None else _size(before))
        self._kept[user_id] = past
        while self._size > self._most and self._kept:
            _, dropped = self._kept.popitem(last=False)
            self._size -= _size(dropped)


def _size(past: UserHistory) -> int:
    return len(past) + _OVERHEAD
