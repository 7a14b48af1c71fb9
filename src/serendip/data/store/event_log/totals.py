"""Running totals of the event log: number of events and most active users, updated incrementally.

Counting a whole log takes longer the longer it is, and every page shows both totals. So the log is
counted once, then only the events appended since; all of it again after an import removed events.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from serendip.data.store.event_log.view import LogPosition, LogView, StoredLog

_MOST_USERS = 1_000
"""Number of users in memory; a request for more counts the log."""

_FOLLOWED_USERS = 500
"""If more users than this have new events, all are counted again, which is cheaper."""


class LogTotals:
    """Totals of one database; safe to use from many threads.

    Args:
        log: that is counted.
        without: actions that do not count as user activity.
    """

    def __init__(self, log: StoredLog, without: Sequence[str] = ()) -> None:
        self._log = log
        self._without = list(without)
        self._lock = threading.Lock()
        self._mark: LogPosition | None = None
        self._users: dict[str, int] | None = None
        self._counts = 0, 0  # events followed, and added since: one value, read without the lock

    @property
    def num_events(self) -> int:
        """Number of events of any action at the last update, and of those added since."""
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
                return list(view.count_users(limit, self._without).items())
            if self._users is None:
                self._users = view.count_users(_MOST_USERS, self._without)
            return list(self._users.items())[: max(limit, 0)]

        with self._lock:
            return self._log.read(read)

    def _follow(self, view: LogView) -> None:
        mark, before, num_followed = view.position(), self._mark, self._counts[0]
        if mark == before:
            self._counts = num_followed, 0
            return
        if before is None or mark.removals != before.removals:
            num_events, users = view.count(), None
        else:
            num_events, users = num_followed + view.count_after(before.seq), self._users
            if users is not None:
                users = self._update_users(view, before.seq, users)
        self._mark, self._counts, self._users = mark, (num_events, 0), users

    def _update_users(
        self, view: LogView, seq: int, users: dict[str, int]
    ) -> dict[str, int] | None:
        """The most active users after an append; None if counting all of them is cheaper.

        Counts only grow: a user outside the list without new events stays behind those inside.
        """
        appended = view.count_users_after(seq, _FOLLOWED_USERS, self._without)
        if appended is None:
            return None
        among = [name for name in appended if name not in users]
        newcomers = view.count_users_among(among, self._without)
        updated = {name: count + appended.get(name, 0) for name, count in users.items()}
        ordered = sorted((updated | newcomers).items(), key=lambda pair: (-pair[1], pair[0]))
        return dict(ordered[:_MOST_USERS])
