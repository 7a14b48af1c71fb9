"""Cache of user histories as arrays, so that a request reads thousands of events in no time.

A user's events are read from the store at their first request and cached. From then on the log is
followed: every request first reads the events that any process has appended since the last one and
adds them to the cached histories, unless nothing was committed to the database meanwhile. So an
event is in the first answer after its write returned, and no event is read twice. The cache is
emptied when events are removed from the log (by an import) and when too many were appended at once;
above its size limit the least recently used histories go.

Item numbers are those of one generation: each engine has its own ``UserHistories``.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray, TimeArray
from serendip.data.events.event import ActionRules, EventColumns
from serendip.data.events.feedback import Feedback, build_user_past
from serendip.data.query import UserPast
from serendip.data.store.store import Store
from serendip.data.users.user import User
from serendip.data.vocabulary import MISSING, Vocabulary

MAX_EVENTS = 2_000_000
"""Maximum number of cached events of all users; one takes 24 to 28 bytes."""

_MAX_NEW_EVENTS = 1_000
"""If more events than this were appended at once, the cache is emptied, which is cheaper."""

_OVERHEAD = 20
"""Memory of a cached history besides its events, in events."""


@dataclass(frozen=True, slots=True, eq=False)
class UserHistory:
    """All events of one user that express interest in an item or reject it.

    Args:
        item_nums: (T,) int32 items of the events in order of time; unknown items are -1.
        timestamps: (T,) float64 Unix seconds, non-decreasing.
        feedback: classes of the T events.
        sessions: (T,) int64 ``session_code``.
        unknown: (row, external id) of the unknown items, which may be posted later.
        num_known: size of the vocabulary that the ids were looked up in.
        seq: sequence number of the last event of the log that was read.
        past: history and rejections that result from the T events, and the country of the newest
            event that has one and is not ignored.
        located: Unix seconds of the event that the country is from; -inf without a country.
    """

    item_nums: IntArray
    timestamps: TimeArray
    feedback: Feedback
    sessions: NDArray[np.int64]
    unknown: tuple[tuple[int, str], ...]
    num_known: int
    seq: int
    past: UserPast
    located: float

    @classmethod
    def of(
        cls, events: EventColumns, rules: ActionRules, vocabulary: Vocabulary, seq: int
    ) -> UserHistory:
        """Build from all events of a user in order of time; neutral events are left out.

        Ignored events say nothing, not even the country: a read of the store leaves them out.
        """
        feedback = Feedback.of(events, rules)
        rows = np.flatnonzero(feedback.interest | feedback.rejects)
        feedback, times = feedback.rows(rows), events.timestamps[rows]
        numbers = vocabulary.numbers(events.item_ids[row] for row in rows.tolist())
        missing = np.flatnonzero(numbers == MISSING).tolist()
        unknown = tuple((row, events.item_ids[rows[row]]) for row in missing)
        country, located = _newest_country(events, rules)
        sessions = events.sessions[rows]
        past = replace(build_user_past(numbers, times, feedback, sessions), country=country)
        return cls(numbers, times, feedback, sessions, unknown, len(vocabulary), seq, past, located)

    def __len__(self) -> int:
        return len(self.item_nums)

    def with_newer(self, newer: UserHistory) -> UserHistory:
        """A copy with events that were appended to the log later, whatever their timestamps."""
        last = newer if newer.located >= self.located else self  # of equal times the later arrival
        country, located = last.past.country, last.located
        if not len(newer):
            past = replace(self.past, country=country)
            return replace(self, seq=newer.seq, past=past, located=located)
        times = np.concatenate([self.timestamps, newer.timestamps])  # (T + T',)
        order = np.argsort(times, kind="stable")
        numbers = np.concatenate([self.item_nums, newer.item_nums])[order]
        feedback = self.feedback.joined(newer.feedback).rows(order)
        sessions = np.concatenate([self.sessions, newer.sessions])[order]
        newer_unknown = ((row + len(self), item_id) for row, item_id in newer.unknown)
        new_rows = np.argsort(order)
        unknown = tuple(
            (int(new_rows[row]), item_id) for row, item_id in (*self.unknown, *newer_unknown)
        )
        num_known = min(self.num_known, newer.num_known)
        stands = build_user_past(numbers, times[order], feedback, sessions)
        return UserHistory(
            *(numbers, times[order], feedback, sessions, unknown, num_known, newer.seq),
            *(replace(stands, country=country), located),
        )

    def with_vocabulary(self, vocabulary: Vocabulary) -> UserHistory:
        """A copy with the numbers of items that were posted since."""
        if not self.unknown or self.num_known >= len(vocabulary):
            return self
        numbers = self.item_nums.copy()
        for row, item_id in self.unknown:
            numbers[row] = vocabulary.number(item_id)
        unknown = tuple((row, item_id) for row, item_id in self.unknown if numbers[row] == MISSING)
        past = build_user_past(numbers, self.timestamps, self.feedback, self.sessions)
        return replace(
            self,
            item_nums=numbers,
            unknown=unknown,
            num_known=len(vocabulary),
            past=replace(past, country=self.past.country),
        )


class UserHistories:
    """Histories of the users of one store; safe to use from many threads.

    Args:
        store: holds the events.
        rules: which events are interactions, likes or negative.
        max_events: maximum number of cached events of all users.
    """

    def __init__(self, store: Store, rules: ActionRules, max_events: int = MAX_EVENTS) -> None:
        self._log, self._users = store.log, store.users
        self._rules = rules
        self._max_events = max_events
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, UserHistory] = OrderedDict()
        self._size = 0
        self._mark = self._log.mark()
        self._commit: int | None = None  # number of the commit up to which the log was read
        self._known: dict[str, User] = {}  # cached users, with their attributes
        self._user_changes = self._users.changes()

    def of(self, user_id: str, vocabulary: Vocabulary) -> UserPast:
        """History and rejections of a user among the items of a vocabulary, country and groups.

        The country is that of their attributes, else that of their newest event that has one.

        Args:
            user_id: external id; an unknown user has an empty history.
            vocabulary: of the generation, extended by the items posted since.
        """
        # Before reading, so that a later commit is read again; before the lock, as a server that is
        # silent keeps whoever asks it waiting.
        commit = self._log.commit_number()
        with self._lock:
            self._follow(commit, vocabulary)
            history = self._cache.get(user_id)
            if history is None:
                events, seq = self._log.past(user_id, self._rules.ignore)
                history = UserHistory.of(events, self._rules, vocabulary, seq)
            history = history.with_vocabulary(vocabulary)
            self._put(user_id, history)
            user = self._user(user_id)
        past = history.past.known(len(vocabulary))
        if user is None:
            return past
        return replace(past, country=user.country or past.country, groups=user.groups)

    def cached(self, user_id: str) -> UserPast | None:
        """What the last request of a user read, without the log; None = nothing is cached.

        Takes no lock, so it answers while another request waits for the log.
        """
        history = self._cache.get(user_id)
        return None if history is None else history.past

    @property
    def removals(self) -> int:
        """How often events had been removed from the log when it was read last."""
        return self._mark.removals

    @property
    def num_events(self) -> int:
        """Number of cached events."""
        return sum(map(len, self._cache.values()))

    def _follow(self, commit: int | None, vocabulary: Vocabulary) -> None:
        """Add the events that were appended to the log, unless it was read as of this commit."""
        if commit is not None and commit == self._commit:
            return
        changes = self._users.changes()
        if changes != self._user_changes:
            self._known.clear()
            self._user_changes = changes
        mark, events, seqs = self._log.after(self._mark.seq, _MAX_NEW_EVENTS)
        if mark.removals != self._mark.removals or mark.seq > self._mark.seq + _MAX_NEW_EVENTS:
            self._cache.clear()
            self._size = 0
        self._mark, self._commit = mark, commit
        for user_id in set(events.user_ids) & self._cache.keys():
            history = self._cache[user_id]
            rows = [row for row, seq in enumerate(seqs) if seq > history.seq]
            rows = [row for row in rows if events.user_ids[row] == user_id]
            newer = UserHistory.of(events.rows(rows), self._rules, vocabulary, mark.seq)
            self._put(user_id, history.with_newer(newer))

    def _user(self, user_id: str) -> User | None:
        """A cached user with their attributes; None if nobody has any."""
        if not self._user_changes:
            return None
        if user_id not in self._known:
            self._known[user_id] = self._users.get(user_id) or User(user_id)
        return self._known[user_id]

    def _put(self, user_id: str, history: UserHistory) -> None:
        """Cache a history as the most recently used; drop the oldest ones above the limit."""
        previous = self._cache.pop(user_id, None)
        self._size += _size(history) - (0 if previous is None else _size(previous))
        self._cache[user_id] = history
        while self._size > self._max_events and self._cache:
            dropped_id, dropped = self._cache.popitem(last=False)
            self._known.pop(dropped_id, None)
            self._size -= _size(dropped)


def _newest_country(events: EventColumns, rules: ActionRules) -> tuple[str, float]:
    """Country and Unix seconds of the newest event that has one and is not ignored."""
    for row in reversed(range(len(events))):
        if events.countries[row] and events.actions[row] not in rules.ignore:
            return events.countries[row], float(events.timestamps[row])
    return "", -math.inf


def _size(history: UserHistory) -> int:
    """Memory of a cached history, in events."""
    return len(history) + _OVERHEAD
