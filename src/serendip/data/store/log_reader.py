"""Incremental reader of the event log: its current position and the events appended since one.

Caches of user histories follow the log with it. Rows are only appended, except by an import,
which removes the rows of earlier imports; ``LogPosition`` shows both kinds of change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serendip.data.event import EventColumns
from serendip.data.store.validation import id_problem

if TYPE_CHECKING:
    from serendip.data.store.database import Database

REMOVALS_KEY = "event removals"


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A state of the event log: equal positions mean equal logs.

    Args:
        removals: number of imports that removed events from the log.
        seq: number of the last event, 0 in an empty log; grows with every event appended.
    """

    removals: int
    seq: int


class EventLogReader:
    """Reads the event log of one database."""

    def __init__(self, database: Database) -> None:
        from serendip.data.store import schema

        self._database, self._sql = database, schema

    def mark(self) -> LogPosition:
        """The current position of the log."""
        with self._database.read() as connection:
            return read_position(connection)

    def past(self, user_id: str, without: Sequence[str] = ()) -> tuple[EventColumns, int]:
        """A user's events, without the given actions, and the log's last event number."""
        if id_problem(user_id):
            return EventColumns.of_rows(()), self.mark().seq
        with self._database.read() as connection:
            seq = read_position(connection).seq
            values = {"user": user_id, "without": list(without)}
            rows = connection.execute(self._sql.PAST, values).all()
        return EventColumns.of_rows(rows), seq

    def after(self, seq: int, most: int) -> tuple[LogPosition, EventColumns, list[int]]:
        """Events of all users appended after number ``seq``, in order of time.

        Returns:
            position of the log, the events and their numbers; no events if more than ``most`` were
            appended: then it is cheaper to read the needed histories anew.
        """
        with self._database.read() as connection:
            mark = read_position(connection)
            if not seq < mark.seq <= seq + most:
                return mark, EventColumns.of_rows(()), []
            rows = connection.execute(self._sql.EVENTS_AFTER, {"after": seq}).all()
        return mark, EventColumns.of_rows([row[:5] for row in rows]), [row[5] for row in rows]


def read_position(connection: Any) -> LogPosition:
    """Read the position of the log, as the connection's transaction sees it."""
    from serendip.data.store.schema import EVENT_MARK

    seq, removals = connection.execute(EVENT_MARK, {"key": REMOVALS_KEY}).one()
    return LogPosition(int(removals or 0), int(seq))
