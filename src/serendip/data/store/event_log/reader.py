"""The event log of one database: its present position, and what was appended since another one.

Caches of user histories follow the log with it. Rows are only appended, except by an import or an
erasure, which remove rows; ``LogPosition`` shows both kinds of change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from serendip.data.events.event import EventColumns
from serendip.data.store.event_log.packs import LogRow, PackedEvents, PackNames
from serendip.data.store.event_log.view import PAST, LogPosition, LogView, in_order
from serendip.data.store.validation import id_problem

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from serendip.data.store.base import Database

T = TypeVar("T")


class EventLogReader:
    """Reads the event log of one database, with the names of packs in memory; thread-safe.

    Args:
        database: of the log.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._names: dict[int, PackNames] = {}

    def read(self, read: Callable[[LogView], T]) -> T:
        """Read within one transaction."""
        with self.database.read() as connection:
            return read(self.view(connection))

    def view(self, connection: Connection) -> LogView:
        """The log in a transaction."""
        return LogView(connection, self._names)

    def mark(self) -> LogPosition:
        """The current position of the log."""
        return self.read(LogView.position)

    def count_after(self, seq: int, without: Sequence[str] = ()) -> int:
        """Number of events appended after number ``seq``, without some actions."""
        return self.read(lambda view: view.count_after(seq, without))

    def past(self, user_id: str, without: Sequence[str] = ()) -> tuple[EventColumns, int]:
        """A user's events, without the given actions, and the log's last event number."""
        if id_problem(user_id):
            return EventColumns.of_rows(()), self.mark().seq
        while True:
            with self.database.read_by_driver() as fetch:
                (mark,), tail, packed = (fetch(one, {"user": user_id}) for one in PAST)
            shared = [self._names.get(row[0]) for row in packed]
            if None not in shared:
                break
            self.read(LogView.load_names)
        parts = [
            PackedEvents.of_rows(names, [row[1:]], ())
            for names, row in zip(shared, packed, strict=True)
            if names is not None
        ]
        rows = [row for row in in_order(tail, parts) if row[3] not in without]
        return _columns(rows), LogPosition.of(mark).seq

    def after(
        self, seq: int, most: int = 2**31 - 1, with_imports: bool = True
    ) -> tuple[LogPosition, EventColumns, list[int]]:
        """Events of all users appended after number ``seq``, in order of time.

        Args:
            seq: number of an event.
            most: if more were appended, none are read: it is cheaper to read the needed histories
                anew.
            with_imports: whether to read what an import brought.

        Returns:
            position of the log, the events and their numbers.
        """

        def read(view: LogView) -> tuple[LogPosition, list[LogRow]]:
            mark = view.position()
            return mark, view.after(seq, with_imports) if seq < mark.seq <= seq + most else []

        mark, rows = self.read(read)
        return mark, _columns(rows), [row[-1] for row in rows]


def _columns(rows: Sequence[LogRow]) -> EventColumns:
    return EventColumns.of_rows([row[:-1] for row in rows])
