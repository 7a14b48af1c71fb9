"""Running totals of the event log: number of events and most active users, updated incrementally.

Counting a whole log takes longer the longer it is, and every page shows both totals. So the log is
counted once, then only the events appended since; all of it again after an import removed events.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from serendip.data.store.log_reader import LogPosition, read_position

if TYPE_CHECKING:
    from serendip.data.store.database import Database

_MOST_USERS = 1_000
"""Number of users in memory; a request for more counts the log."""

_FOLLOWED_USERS = 500
"""If more users than this have new events, all are counted again, which is cheaper."""


class LogTotals:
    """Totals of one database; safe to use from many threads.

    Args:
        database: holds the events.
        without: actions that do not count as user activity.
    """

    def __init__(self, database: Database, without: Sequence[str] = ()) -> None:
        from serendip.data.store import schema

        self._database, self._sql = database, schema
        self._without = list(without)
        self._lock = threading.Lock()
        self._mark: LogPosition | None = None
        self._users: dict[str, int] | None = None
        self.num_events = 0
        """Number of events of any action at the last update."""

    def follow(self) -> None:
        """Update the totals with the events appended or removed since the last update."""
        with self._lock, self._database.read() as connection:
            self._follow(connection)

    def users(self, limit: int) -> list[tuple[str, int]]:
        """(user_id, number of events), most active first, as of now."""
        with self._lock, self._database.read() as connection:
            self._follow(connection)
            if limit > _MOST_USERS:
                return list(self._count_users(connection, limit).items())
            if self._users is None:
                self._users = self._count_users(connection, _MOST_USERS)
            return list(self._users.items())[: max(limit, 0)]

    def _follow(self, connection: Any) -> None:
        mark, before = read_position(connection), self._mark
        if mark == before:
            return
        if before is None or mark.removals != before.removals:
            num_events, users = int(connection.scalar(self._sql.COUNT_EVENTS)), None
        else:
            after = {"after": before.seq}
            num_events = self.num_events + int(connection.scalar(self._sql.COUNT_AFTER, after))
            users = self._users
            if users is not None:
                users = self._update_users(connection, before.seq, users)
        self._mark, self.num_events, self._users = mark, num_events, users

    def _update_users(
        self, connection: Any, seq: int, users: dict[str, int]
    ) -> dict[str, int] | None:
        """The most active users after an append; None if counting all of them is cheaper.

        Counts only grow: a user outside the list without new events stays behind those inside.
        """
        values = {"after": seq, "without": self._without, "most": _FOLLOWED_USERS + 1}
        appended = _pairs(connection.execute(self._sql.USERS_AFTER, values))
        if len(appended) > _FOLLOWED_USERS:
            return None
        values = {"users": [name for name in appended if name not in users]}
        values["without"] = self._without
        newcomers = _pairs(connection.execute(self._sql.USERS_AMONG, values))
        updated = {name: count + appended.get(name, 0) for name, count in users.items()}
        ordered = sorted((updated | newcomers).items(), key=lambda pair: (-pair[1], pair[0]))
        return dict(ordered[:_MOST_USERS])

    def _count_users(self, connection: Any, most: int) -> dict[str, int]:
        values = {"most": most, "without": self._without}
        return _pairs(connection.execute(self._sql.USERS, values))


def _pairs(rows: Iterable[Sequence[Any]]) -> dict[str, int]:
    return {row[0]: row[1] for row in rows}
