"""Cache of user histories as arrays, so that a request reads thousands of events in no time.

A user's events are read from the store at their first request and cached. From then on the log is
followed: every request first reads whose events any process has appended since the last one, unless
nothing was committed to the database meanwhile, and the histories of these users are read anew. So
an event is in the first answer after its write returned (read your writes); a fallback knows what
the last request read. The cache is emptied when events are removed from the log, by an import or an
erasure, and when too many were appended at once; above its size limit
the least recently used histories go.

Item numbers are those of one generation: each engine has its own ``UserHistories``.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from serendip.data import (
    MISSING,
    ActionRules,
    EventColumns,
    IntArray,
    UserPast,
    Vocabulary,
    distinct,
)
from serendip.data.events.feedback import Feedback, build_user_past
from serendip.data.events.search_log import IMPRESSION
from serendip.data.store.store import Store
from serendip.data.users.user import User
from serendip.engine.stages.surfaces import FrequencyConfig
from serendip.runtime.budget import parse_duration

MAX_EVENTS = 2_000_000  # of all users; one takes 24 to 28 bytes
_MAX_NEW_EVENTS = 1_000  # if more were appended at once, the cache is emptied, which is cheaper
_MAX_IMPRESSIONS = 2_000  # newest events of a user that a limit of impressions counts
_OVERHEAD = 20  # memory of a cached history besides its events, in events


class UserHistory(NamedTuple):
    """What requests read of one user.

    Args:
        past: history and rejections that result from all events, and the country of the newest
            event that has one and is not ignored.
        size: memory, in events.
        unknown: ids of items that are not in the vocabulary, and may be posted later.
        is_stale: whether there are newer events.
    """

    past: UserPast
    size: int
    unknown: frozenset[str]
    is_stale: bool = False

    @classmethod
    def of(cls, events: EventColumns, rules: ActionRules, vocabulary: Vocabulary) -> UserHistory:
        """Build from all events of a user in order of time; neutral events are left out.

        Ignored events say nothing, not even the country: a read of the store leaves them out.
        """
        feedback = Feedback.of(events, rules)
        rows = np.flatnonzero(feedback.interest | feedback.rejects)
        times, sessions = events.timestamps[rows], events.sessions[rows]
        items = [events.item_ids[row] for row in rows.tolist()]
        numbers = vocabulary.numbers(items)
        past = build_user_past(numbers, times, feedback.rows(rows), sessions)
        located = (country for country in reversed(events.countries) if country)
        past = replace(past, country=next(located, ""))
        unknown = frozenset(items[row] for row in np.flatnonzero(numbers == MISSING).tolist())
        return cls(past, len(rows) + _OVERHEAD, unknown)

    def is_valid(self, vocabulary: Vocabulary) -> bool:
        """Whether nothing has happened since, to the user or to the catalogue, that it lacks."""
        return not self.is_stale and not any(name in vocabulary for name in self.unknown)


class UserHistories:
    """Histories of the users of one store; safe to use from many threads.

    Args:
        max_events: maximum number of cached events of all users.
    """

    def __init__(self, store: Store, rules: ActionRules, max_events: int = MAX_EVENTS) -> None:
        self._log, self._users = store.log, store.users
        self._rules = rules
        self._max_events = max_events
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, UserHistory] = OrderedDict()
        self._size = 0
        self._position = self._log.position()
        self._commit: int | None = None  # number of the commit up to which the log was read
        self._known: dict[str, User] = {}  # cached users, with their attributes
        self._user_changes = self._users.changes()

    def of(self, user_id: str, vocabulary: Vocabulary) -> UserPast:
        """History and rejections of a user among the items of a vocabulary, country and groups.

        The country is that of their attributes, else that of their newest event that has one.

        The vocabulary is that of the generation, extended by the items posted since.
        """
        # Before reading, so that a later commit is read again; before the lock, as a server that is
        # silent keeps whoever asks it waiting.
        commit = self._log.database.commit_number()
        with self._lock:
            self._mark_stale(commit)
            history = self._cache.get(user_id)
            if history is None or not history.is_valid(vocabulary):
                events = self._log.past(user_id, self._rules.ignore)
                history = UserHistory.of(events, self._rules, vocabulary)
            self._put(user_id, history)
            user = self._user(user_id)
        return _with_user(history.past.known(len(vocabulary)), user)

    def find_worn(
        self, user_id: str, config: FrequencyConfig, now: float, vocabulary: Vocabulary
    ) -> IntArray:
        """Items that were shown to a user too often, ascending (``FrequencyConfig``)."""
        since = now - parse_duration(config.within)
        events = self._log.history(user_id, _MAX_IMPRESSIONS, since=since)
        shown = Counter(event.item_id for event in events if event.action == IMPRESSION)
        worn = [name for name, times in shown.items() if times >= config.impressions]
        return distinct(vocabulary.numbers([name for name in worn if name in vocabulary]))

    def cached(self, user_id: str) -> UserPast | None:
        """What the last request of a user read, without the log; None = nothing is cached.

        Takes no lock, so it answers while another request waits for the log.
        """
        history = self._cache.get(user_id)
        return None if history is None else _with_user(history.past, self._known.get(user_id))

    def forget(self, user_id: str) -> None:
        """Drop what is cached of a user."""
        with self._lock:
            history = self._cache.pop(user_id, None)
            self._size -= 0 if history is None else history.size
            self._known.pop(user_id, None)

    @property
    def removals(self) -> int:
        """How often events had been removed from the log when it was read last."""
        return self._position.removals

    @property
    def num_events(self) -> int:
        """Number of cached events."""
        return sum(history.size - _OVERHEAD for history in self._cache.values())

    def _mark_stale(self, commit: int | None) -> None:
        if commit is not None and commit == self._commit:
            return
        changes = self._users.changes()
        if changes != self._user_changes:
            self._known.clear()
            self._user_changes = changes
        position, events = self._log.after(self._position.seq, _MAX_NEW_EVENTS)
        if (
            position.removals != self._position.removals
            or position.seq > self._position.seq + _MAX_NEW_EVENTS
        ):
            self._cache.clear()
            self._size = 0
        self._position, self._commit = position, commit
        for user_id in set(events.user_ids) & self._cache.keys():
            self._cache[user_id] = self._cache[user_id]._replace(is_stale=True)

    def _user(self, user_id: str) -> User | None:
        if not self._user_changes:
            return None  # nobody has any
        if user_id not in self._known:
            self._known[user_id] = self._users.get(user_id) or User(user_id)
        return self._known[user_id]

    def _put(self, user_id: str, history: UserHistory) -> None:
        previous = self._cache.pop(user_id, None)
        self._size += history.size - (0 if previous is None else previous.size)
        self._cache[user_id] = history
        while self._size > self._max_events and self._cache:
            dropped_id, dropped = self._cache.popitem(last=False)
            self._known.pop(dropped_id, None)
            self._size -= dropped.size


def _with_user(past: UserPast, user: User | None) -> UserPast:
    if user is None:
        return past
    return replace(past, country=user.country or past.country, groups=user.groups)
