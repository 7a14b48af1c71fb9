"""The log of events as it grows: how far it is, and what was appended since.

Whoever keeps pasts of users in memory follows it. Rows are only ever appended, but for an import,
which takes out what former imports wrote; the mark of the log tells both.
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
    """A place in the log of events: equal marks, equal logs.

    Args:
        removals: how often events were taken out of the log.
        seq: number of the last event; 0 where there is none. It grows with every event appended.
    """

    removals: int
    seq: int


class EventLogReader:
    """The log of one database."""

    def __init__(self, database: Database) -> None:
        from serendip.data.store import schema

        self._database, self._sql = database, schema

    def mark(self) -> LogPosition:
        """How far the log is."""
        with self._database.read() as connection:
            return read_position(connection)

    def past(self, user_id: str, without: Sequence[str] = ()) -> tuple[EventColumns, int]:
        """All events of a user but of the actions named, and the number of anybody's last event."""
        if id_problem(user_id):
            return EventColumns.of_rows(()), self.mark().seq
        with self._database.read() as connection:
            seq = read_position(connection).seq
            values = {"user": user_id, "without": list(without)}
            rows = connection.execute(self._sql.PAST, values).all()
        return EventColumns.of_rows(rows), seq

    def after(self, seq: int, most: int) -> tuple[LogPosition, EventColumns, list[int]]:
        """Events appended after number ``seq`` by whomever, with their numbers, in order of time.

        Returns:
            how far the log is, the events and their numbers; none where more than ``most`` numbers
            lie between: then it costs less to read afresh what is needed.
        """
        with self._database.read() as connection:
            mark = read_position(connection)
            if not seq < mark.seq <= seq + most:
                return mark, EventColumns.of_rows(()), []
            rows = connection.execute(self._sql.EVENTS_AFTER, {"after": seq}).all()
        return mark, EventColumns.of_rows([row[:5] for row in rows]), [row[5] for row in rows]


def read_position(connection: Any) -> LogPosition:
    """How far the log is, as a transaction sees it."""
    from serendip.data.store.schema import EVENT_MARK

    seq, removals = connection.execute(EVENT_MARK, {"key": REMOVALS_KEY}).one()
    return LogPosition(int(removals or 0), int(seq))
