"""Running totals of the event log: number of events and most active users, updated incrementally.

Counting a whole log takes longer the longer it is, and every page shows both totals. So the users
are counted once, then only those with new events; all again after something removed events.
"""

from __future__ import annotations

import threading

from serendip.data.store.event_log.reader import EventLogReader
from serendip.data.store.event_log.view import LogPosition, LogView

_MOST_USERS = 1_000
"""Number of users in memory; a request for more counts the log."""

_FOLLOWED_USERS = 500
"""If more users than this have new events, all are counted again, which is cheaper."""


class LogTotals:
    """Totals of one database; safe to use from many threads.

    Args:
        log: that is counted.
    """

    def __init__(self, log: EventLogReader) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._mark: LogPosition | None = None
        self._users: dict[str, int] | None = None
        self._counts = 0, 0  # events followed, and added since: one value, read without the lock

    @property
    def num_events(self) -> int:
        """Number of events at the last update, and of those added since."""
        return sum(self._counts)

    def add(self, count: int) -> None:
        """Count events that were just appended, without a look at the log.

        The next update counts them by the log.
        """
        with self._lock:
            num_followed, num_added = self._counts
            self._counts = num_followed, num_added + count

    def follow(self) -> None:
        """Update the totals with the events appended or removed since the last update."""
        with self._lock:
            self._log.read(self._follow)

    def users(self, limit: int) -> list[tuple[str, int]]:
        """(user_id, number of events), most active first, as of now."""

        def read(view: LogView) -> list[tuple[str, int]]:
            self._follow(view)
            if limit > _MOST_USERS:
                return list(view.count_users(limit).items())
            if self._users is None:
                self._users = view.count_users(_MOST_USERS)
            return list(self._users.items())[: max(limit, 0)]

        with self._lock:
            return self._log.read(read)

    def _follow(self, view: LogView) -> None:
        mark, before = view.position(), self._mark
        if mark != before:
            is_longer = before is not None and mark.removals == before.removals
            users = self._users if is_longer else None
            if before is not None and users is not None:
                users = self._update_users(view, before.seq, users)
            self._mark, self._users = mark, users
            self._counts = view.count(), 0
        else:
            self._counts = self._counts[0], 0

    def _update_users(
        self, view: LogView, seq: int, users: dict[str, int]
    ) -> dict[str, int] | None:
        """The most active users after an append; None if counting all of them is cheaper.

        Counts only grow: a user outside the list without new events stays behind those inside.
        """
        appended = view.users_after(seq, _FOLLOWED_USERS + 1)
        if len(appended) > _FOLLOWED_USERS:
            return None
        counts = users | view.count_users(len(appended), appended)
        ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return dict(ordered[:_MOST_USERS])
