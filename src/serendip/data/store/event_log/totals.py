"""Number of events of a log and its most active users, for every page: counted now and then."""

from __future__ import annotations

import threading

from serendip.data.store.event_log.reader import EventLogReader
from serendip.data.store.event_log.view import LogPosition, LogView

_MOST_USERS = 1_000
"""Number of users in memory; a request for more counts the log."""

_FRESH_SHARE = 0.01
"""Users are counted again once this share of the events has come since, or any was removed."""


class LogTotals:
    """Totals of one database; safe to use from many threads.

    Args:
        log: that is counted.

    Attributes:
        num_events: number of events at the last update.
    """

    def __init__(self, log: EventLogReader) -> None:
        self._log, self._lock, self.num_events = log, threading.Lock(), 0
        self._mark: LogPosition | None = None
        self._counted: LogPosition | None = None  # when the users were
        self._users = list[tuple[str, int]]()

    def follow(self) -> None:
        """Update the number of events."""
        with self._lock:
            self._log.read(self._follow)

    def users(self, limit: int) -> list[tuple[str, int]]:
        """(user_id, number of events), most active first; none who was erased."""

        def read(view: LogView) -> list[tuple[str, int]]:
            if limit > _MOST_USERS:
                return list(view.count_users(limit).items())
            mark, counted = self._follow(view), self._counted
            if (
                counted is None
                or mark.removals != counted.removals
                or mark.seq - counted.seq > _FRESH_SHARE * self.num_events
            ):
                self._users, self._counted = list(view.count_users(_MOST_USERS).items()), mark
            return self._users[: max(limit, 0)]

        with self._lock:
            return self._log.read(read)

    def _follow(self, view: LogView) -> LogPosition:
        if (mark := view.position()) != self._mark:
            self._mark, self.num_events = mark, view.count()
        return mark
