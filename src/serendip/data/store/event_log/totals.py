"""Number of events of a log, read from memory and counted again where the log has changed."""

from __future__ import annotations

from serendip.data.store.event_log.reader import EventLogReader
from serendip.data.store.event_log.view import LogPosition, LogView


class LogTotals:
    """Totals of one database; safe to use from many threads.

    Args:
        log: that is counted.

    Attributes:
        num_events: number of events at the last update.
    """

    def __init__(self, log: EventLogReader) -> None:
        self._log, self.num_events = log, 0
        self._mark: LogPosition | None = None

    def follow(self) -> None:
        """Update the number of events."""
        self._log.read(self._follow)

    def _follow(self, view: LogView) -> None:
        if (mark := view.position()) != self._mark:
            self._mark, self.num_events = mark, view.count()
