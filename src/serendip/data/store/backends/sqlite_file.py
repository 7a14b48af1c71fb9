"""One SQLite file: opens connections and detects that the file was deleted or replaced.

A file is opened for reading and writing. If that fails because nothing can be written, it is
opened in a limited way that needs no writing, and reads still work; ``limit_is_over`` says when
normal connections may replace the limited ones:

- full: the disk has no room for ``-shm``. Its content is kept in memory instead, and other
  processes are locked out because they could not see it;
- read-only: the file or its folder is not writable, so ``-shm`` and ``-wal`` cannot be created.
  Without a ``-shm`` nobody writes, so the file is read as immutable ("frozen"). Once a ``-shm``
  appears, another mount is writing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from serendip.data.store.backends.backend import RowsAround
from serendip.errors import StorageError

Limit: TypeAlias = Literal["", "full", "read-only", "frozen"]

_ROOM = 1 << 20
_CHECKPOINTS, _CHECKPOINT_MS = 4, 500
"""Attempts to empty the write-ahead log, and how long each waits for readers."""

_OVERWRITES = 1
"""``user_version`` of a file in which all that was ever deleted is overwritten."""

_NEAR, _AT_ONCE = 1_000, 4_000
"""Rows on each side of a place, and rows of one transaction. A page of 4 KiB has at most 100 rows,
and when one is split or joined, rows move between it and the pages beside it."""

_NO_ROOM, _LOCKED = ("SQLITE_IOERR", "SQLITE_FULL"), ("SQLITE_BUSY", "SQLITE_LOCKED")


class SqliteFile:
    """The file of one database; thread-safe.

    Args:
        path: of the file.
        module: the database driver.
        busy_s: how long a connection waits for another one's lock.
        create: whether to create a missing file.
    """

    def __init__(self, path: Path, module: ModuleType, busy_s: float, create: bool) -> None:
        self.name = path.name
        self._path, self._module, self._busy_s = Path(os.path.abspath(path)), module, busy_s
        self._mode = "rwc" if create else "rw"
        self._identity: tuple[int, int] | None = None
        self._limits: set[Limit] = set()
        self._lock = threading.Lock()

    def connect(self) -> Any:
        """Open a connection in autocommit mode: ``Database`` begins the transactions.

        Raises:
            StorageError: the file is missing, or not the one opened first.
        """
        if self._mode == "rw" or self._identity is not None:
            self.require_same()
        before = self._file_identity()
        connection, limit = self._open()
        try:
            with self._lock:
                self._identity = self._identity or before or self._file_identity()
                self._limits |= {limit} - {""}
            self.require_same()
        except StorageError:
            connection.close()
            raise
        return connection

    def require_same(self) -> None:
        """Check that the path still leads to the file that was opened first.

        Raises:
            StorageError: it does not; a write would be lost.
        """
        if loss := self.loss():
            raise StorageError(*loss)

    def loss(self) -> tuple[str, str] | None:
        """Message and hint if the file is missing or was replaced; None if it is still there."""
        current = self._file_identity()
        if current is None and self._identity is None:
            return (
                f"database {self.name} does not exist.",
                "Restore it from a backup, or run `serendip import`, which makes one from your "
                "files only.",
            )
        if current is None:
            return (
                f"database {self.name} was deleted while it was open; nothing is written.",
                "Restore it from a backup and restart.",
            )
        if self._identity not in (None, current):
            return (
                f"database {self.name} was replaced while it was open; nothing is written.",
                "Restart to use the new file.",
            )
        return None

    def problem(self) -> str:
        """Why a write would fail now, checked without writing; empty = no known problem."""
        if loss := self.loss():
            return loss[0]
        if not self._is_writable():
            return f"database {self.name} cannot be written to: its disk or folder is read-only."
        if self._is_full():
            return f"database {self.name} cannot be written to: its disk is full."
        return ""

    def is_full_error(self, name: str) -> bool:
        """Whether an error of this name says that the disk is full."""
        return name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and self._is_full())

    def scrub(self, tables: Sequence[str] | None = None, places: Sequence[RowsAround] = ()) -> bool:
        """Remove the bytes of deleted rows, and empty the write-ahead log.

        What is deleted is overwritten (``secure_delete``). But a page that was split keeps copies
        of rows that moved, so tables from which bytes must go are emptied and filled again: all of
        their pages are overwritten then. It takes time in proportion to these tables alone. A file
        in which an earlier version deleted is written again as a whole, once.

        Of a large table in which rows keep their places, the rows around those that were deleted or
        blanked are enough: rows move from a page to those beside it. They are written again in
        transactions of their own, so that writers never wait for more than one of them.

        Args:
            tables: by name; None = the whole file is written again.
            places: in other tables.

        Returns:
            whether the log is empty; a reader of an older state keeps it for a while.
        """
        connection = self.connect()
        try:
            ((overwrites,),) = connection.execute("PRAGMA user_version").fetchall()
            if tables is None or not overwrites:
                connection.execute("VACUUM")
                connection.execute(f"PRAGMA user_version={_OVERWRITES}")
            else:
                self._fill_again(connection, tables)
                for place in places:
                    self._fill_around(connection, place)
            return self._empty_log(connection)
        finally:
            connection.close()

    def _fill_again(self, connection: Any, tables: Sequence[str]) -> None:
        """Empty tables and fill them again, in one transaction."""
        with self._transaction(connection):
            for table in tables:
                connection.execute(f'CREATE TEMP TABLE kept AS SELECT * FROM main."{table}"')
                connection.execute(f'DELETE FROM main."{table}"')
                connection.execute(f'INSERT INTO main."{table}" SELECT * FROM kept ORDER BY rowid')
                connection.execute("DROP TABLE temp.kept")

    def _fill_around(self, connection: Any, place: RowsAround) -> None:
        """Remove the rows around a place and write them again under the numbers that they had."""
        for first, last in _join_ranges(self._row_numbers(connection, place)):
            with self._transaction(connection):
                connection.execute(
                    f'CREATE TEMP TABLE kept AS SELECT rowid AS place, * FROM main."{place.table}" '
                    "WHERE rowid BETWEEN ? AND ?",
                    (first, last),
                )
                names = ", ".join(self._columns(connection, place.table))
                connection.execute(
                    f'DELETE FROM main."{place.table}" WHERE rowid BETWEEN ? AND ?', (first, last)
                )
                connection.execute(
                    f'INSERT INTO main."{place.table}" (rowid, {names}) '
                    f"SELECT place, {names} FROM kept ORDER BY place"
                )
                connection.execute("DROP TABLE temp.kept")

    def _row_numbers(self, connection: Any, place: RowsAround) -> list[int]:
        """Numbers of the rows of a place, ascending; of all rows, as many as lead to every one."""
        if place.values is None:
            statement = f'SELECT min(rowid), max(rowid) FROM main."{place.table}"'
            ((first, last),) = connection.execute(statement).fetchall()
            return [] if first is None else [*range(first, last, _NEAR), last]
        statement = f'SELECT rowid FROM main."{place.table}" WHERE "{place.column}" = ?'
        found = (connection.execute(statement, (value,)).fetchall() for value in place.values)
        return sorted(number for rows in found for (number,) in rows)

    @staticmethod
    def _columns(connection: Any, table: str) -> list[str]:
        rows = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
        return [f'"{row[1]}"' for row in rows]

    @contextmanager
    def _transaction(self, connection: Any) -> Iterator[None]:
        """A write transaction, undone if it fails."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except self._module.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _empty_log(self, connection: Any) -> bool:
        """Empty the write-ahead log; writers wait for no longer than ``_CHECKPOINT_MS`` at once."""
        most_ms = min(_CHECKPOINT_MS, int(1000 * self._busy_s))
        connection.execute(f"PRAGMA busy_timeout={most_ms}")
        for attempt in range(_CHECKPOINTS):
            time.sleep(attempt * most_ms / 1000)
            if self._checkpoint(connection):
                return True
        return False

    def copy_to(self, path: Path) -> None:
        """Write the file as of this moment to a new one, without the bytes of deleted rows.

        Others read and write meanwhile.
        """
        connection = self.connect()
        try:
            connection.execute("VACUUM INTO ?", (str(path),))
        finally:
            connection.close()

    @staticmethod
    def _checkpoint(connection: Any) -> bool:
        (is_busy, *_), *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return not is_busy

    @property
    def is_limited(self) -> bool:
        """Whether connections are limited: one that is frozen never sees a later commit."""
        return bool(self._limits)

    @property
    def failure(self) -> type[Exception]:
        """Base class of the errors of its connections."""
        error: type[Exception] = self._module.Error
        return error

    def limit_is_over(self) -> bool:
        """Whether limited connections can be replaced by normal ones; the caller closes them all.

        False while the file is lost: only the connections that are open can still read it.
        """
        if not self._limits or self.loss():
            return False
        is_over = (
            ("full" in self._limits and not self._is_full())
            or ("frozen" in self._limits and self._beside("-shm").exists())
            or ("full" not in self._limits and self._is_writable())
        )
        if is_over:
            self._limits.clear()
        return is_over

    def _open(self) -> tuple[Any, Limit]:
        """Open a connection and say what limits it."""
        try:
            normal = self._connect(f"mode={self._mode}", "journal_mode=WAL", "synchronous=FULL")
            self._mark_new(normal)
            return normal, "" if self._is_writable() else "read-only"
        except self._module.OperationalError as error:
            reason = getattr(error, "sqlite_errorname", "")
            if not reason.startswith(_LOCKED) and not self._is_writable():
                return self._connect(*self._frozen_mode()), "frozen"
            if reason.startswith(_NO_ROOM):
                return self._connect("mode=rw&vfs=unix-excl", "synchronous=FULL"), "full"
            raise

    def _mark_new(self, connection: Any) -> None:
        """Note in a file without any table that whatever will be deleted is overwritten."""
        if self._mode == "rwc":
            ((version,),) = connection.execute("PRAGMA schema_version").fetchall()
            if not version:
                connection.execute(f"PRAGMA user_version={_OVERWRITES}")

    def _frozen_mode(self) -> tuple[str, ...]:
        """Connection parameters for a file whose ``-shm`` is missing and cannot be created."""
        wal = self._beside("-wal")
        if wal.exists() and wal.stat().st_size:
            return "mode=ro&vfs=unix-none", "locking_mode=EXCLUSIVE"
        return ("mode=ro&immutable=1",)

    def _connect(self, query: str, *pragmas: str) -> Any:
        connection = self._module.connect(
            f"file:{quote(str(self._path))}?{query}",
            uri=True,
            timeout=self._busy_s,
            check_same_thread=False,
            isolation_level=None,  # autocommit: ``Database`` begins transactions
        )
        try:
            for pragma in (*pragmas, "secure_delete=ON", "schema_version"):  # the last one reads
                connection.execute(f"PRAGMA {pragma}").fetchall()
        except self._module.Error:
            connection.close()
            raise
        return connection

    def _file_identity(self) -> tuple[int, int] | None:
        """Device and inode of the path; None if there is no file."""
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _is_writable(self) -> bool:
        """Whether the file and its folder are writable; for a missing file, the folder."""
        places = [self._path.parent, *([self._path] if self._path.exists() else [])]
        return all(os.access(place, os.W_OK) for place in places)

    def _is_full(self) -> bool:
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize < _ROOM

    def _beside(self, ending: str) -> Path:
        return self._path.with_name(self._path.name + ending)


def _join_ranges(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of the rows around some, ascending; those that overlap joined, to a limit."""
    first = last = None
    for number in numbers:
        begin, end = number - _NEAR, number + _NEAR
        if first is not None and last is not None:
            if begin <= last and end - first < _AT_ONCE:
                last = end
                continue
            yield first, last
        first, last = begin, end
    if first is not None and last is not None:
        yield first, last
