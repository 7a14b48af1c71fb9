"""Incremental reader of the event log: its current position and the events appended since one.

Caches of user histories follow the log with it. Rows are only appended, except by an import or an
erasure, which remove rows; ``LogPosition`` shows both kinds of change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from serendip.data.events.event import EventColumns
from serendip.data.log.segment_folder import SegmentFolder
from serendip.data.store.event_log.view import LogPosition, LogRow, LogView, read_log
from serendip.data.store.validation import id_problem

if TYPE_CHECKING:
    from serendip.data.store.database import Database


class EventLogReader:
    """Reads the event log of one database.

    Args:
        database: names the segments and holds the tail.
        folder: of the segments.
    """

    def __init__(self, database: Database, folder: SegmentFolder) -> None:
        self._database, self._folder = database, folder

    def commit_number(self) -> int | None:
        """A number that is the same as long as nothing is written; None = not known.

        Takes microseconds on SQLite: whoever follows the log asks it before reading.
        """
        return self._database.commit_number()

    def mark(self) -> LogPosition:
        """The current position of the log."""
        return read_log(self._database, self._folder, LogView.position)

    def count_after(self, seq: int, without: Sequence[str] = ()) -> int:
        """Number of events appended after number ``seq``, without some actions.

        No segment that was made before is opened.
        """
        return read_log(self._database, self._folder, lambda view: view.count_after(seq, without))

    def past(self, user_id: str, without: Sequence[str] = ()) -> tuple[EventColumns, int]:
        """A user's events, without the given actions, and the log's last event number."""
        if id_problem(user_id):
            return EventColumns.of_rows(()), self.mark().seq

        def read(view: LogView) -> tuple[LogPosition, list[LogRow]]:
            return view.position(), view.past(user_id, without)

        mark, rows = read_log(self._database, self._folder, read)
        return EventColumns.of_rows([row[:-1] for row in rows]), mark.seq

    def after(self, seq: int, most: int) -> tuple[LogPosition, EventColumns, list[int]]:
        """Events of all users appended after number ``seq``, in order of time.

        Returns:
            position of the log, the events and their numbers; no events if more than ``most`` were
            appended: then it is cheaper to read the needed histories anew.
        """

        def read(view: LogView) -> tuple[LogPosition, list[LogRow]]:
            mark = view.position()
            return mark, view.after(seq) if seq < mark.seq <= seq + most else []

        mark, rows = read_log(self._database, self._folder, read)
        return mark, EventColumns.of_rows([row[:-1] for row in rows]), [row[-1] for row in rows]

    def posted_after(self, seq: int) -> tuple[LogPosition, EventColumns]:
        """Events of the API appended after number ``seq``, in order of time; none of an import.

        Returns:
            position of the log, and the events.
        """

        def read(view: LogView) -> tuple[LogPosition, list[LogRow]]:
            mark = view.position()
            return mark, view.after(seq, with_imports=False) if seq < mark.seq else []

        mark, rows = read_log(self._database, self._folder, read)
        return mark, EventColumns.of_rows([row[:-1] for row in rows])
