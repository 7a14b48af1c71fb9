"""Tells in microseconds whether anything was committed to a file since it was last asked.

SQLite counts the commits of other connections in its shared memory (``PRAGMA data_version``), so
that a reader with a connection of its own knows that nothing has changed without a transaction.
"""

from __future__ import annotations

import threading
from typing import Any

from serendip.data.store.backends.sqlite_file import SqliteFile
from serendip.errors import StorageError


class FileWatch:
    """Watches the commits to one SQLite file by all processes; thread-safe.

    Args:
        file: opened on first use.
    """

    is_remote = False

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._connection: Any = None
        self._lock = threading.Lock()

    def number(self) -> int | None:
        """A number that is the same as long as nothing is committed; None = not known.

        A commit that has returned is seen by the next call, whichever process made it.
        """
        if self._file.is_read_only:
            return None
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._file.connect()
                return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            except (StorageError, self._file.failure):
                self._close()
                return None

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
