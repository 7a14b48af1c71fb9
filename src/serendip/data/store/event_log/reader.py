"""The event log of one database: its present position, and what was appended since another one.

Caches of user histories follow the log with it. Rows are only appended, except by an import or an
erasure, which remove rows; ``LogPosition`` shows both kinds of change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from serendip.data.events.event import EventColumns
from serendip.data.store.event_log.packs import PackedEvents, PackNames
from serendip.data.store.event_log.view import PAST, LogPosition, LogView, in_columns
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
        self._counted: tuple[LogPosition | None, int] = None, 0

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

    def count(self) -> int:
        """Number of events, counted again where the log has changed."""

        def read(view: LogView) -> int:
            if (mark := view.position()) != self._counted[0]:
                self._counted = mark, view.count()
            return self._counted[1]

        return self.read(read)

    def count_after(self, seq: int, without: Sequence[str] = ()) -> int:
        """Number of events appended after number ``seq``, without some actions."""
        return self.read(lambda view: view.count_after(seq, without))

    def past(self, user_id: str, without: Sequence[str] = ()) -> EventColumns:
        """A user's events, without the given actions."""
        if id_problem(user_id):
            return EventColumns.of_rows(())
        while True:
            with self.database.read_by_driver() as fetch:
                tail, packed = (fetch(one, {"user": user_id}) for one in PAST)
            shared = [self._names.get(row[0]) for row in packed]
            if None not in shared:
                break
            self.read(LogView.load_names)
        parts = [
            PackedEvents.of_rows(names, [row[1:]], ())
            for names, row in zip(shared, packed, strict=True)
            if names is not None
        ]
        return in_columns(tail, parts, without)

    def after(
        self, seq: int, most: int = 2**31 - 1, with_imports: bool = True
    ) -> tuple[LogPosition, EventColumns]:
        """Events of all users appended after number ``seq``, in order of time.

        Args:
            seq: number of an event.
            most: if more were appended, none are read: it is cheaper to read the needed histories
                anew.
            with_imports: whether to read what an import brought.

        Returns:
            position of the log, and the events.
        """

        def read(view: LogView) -> tuple[LogPosition, EventColumns]:
            mark = view.position()
            is_wanted = seq < mark.seq <= seq + most
            return mark, view.after(seq, with_imports) if is_wanted else EventColumns.of_rows(())

        return self.read(read)
