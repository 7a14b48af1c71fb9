"""One SQLite file: opens connections and detects that the file was deleted or replaced.

A file is opened for reading and writing. If that fails because nothing can be written (a read-only
or full disk, on which ``-shm`` cannot be made), it is opened for reading alone, without locks, as
nobody else can write to such a file; ``may_write_again`` says when that is over.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

from serendip.errors import StorageError

_ROOM = 1 << 20
_CHECKPOINTS, _CHECKPOINT_MS = 4, 500
"""Attempts to empty the write-ahead log, and how long each waits for readers."""

_NO_ROOM, _LOCKED = ("SQLITE_IOERR", "SQLITE_FULL"), ("SQLITE_BUSY", "SQLITE_LOCKED")


class SqliteFile:
    """The file of one database; thread-safe.

    Args:
        path: of the file.
        module: the database driver.
        busy_s: how long a connection waits for another one's lock.
        create: whether to create a missing file.

    Attributes:
        is_read_only: whether it was opened for reading alone.
    """

    def __init__(self, path: Path, module: ModuleType, busy_s: float, create: bool) -> None:
        self.name, self.path = path.name, Path(os.path.abspath(path))
        self._module, self._busy_s = module, busy_s
        self._mode = "rwc" if create else "rw"
        self._identity: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self.is_read_only = False

    @property
    def failure(self) -> type[Exception]:
        """Base class of the errors of its connections."""
        error: type[Exception] = self._module.Error
        return error

    def connect(self) -> Any:
        """Open a connection in autocommit mode: ``Database`` begins the transactions.

        Raises:
            StorageError: the file is missing, or not the one opened first.
        """
        if self._mode == "rw" or self._identity is not None:
            self.require_same()
        before = self._file_identity()
        if before is None:  # -wal and -shm get the rights of the file
            with suppress(OSError):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = self._open()
        try:
            with self._lock:
                self._identity = self._identity or before or self._file_identity()
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
        if loss := self._loss():
            raise StorageError(*loss)

    def _loss(self) -> tuple[str, str] | None:
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
        if loss := self._loss():
            return loss[0]
        if not self._is_writable():
            return f"database {self.name} cannot be written to: its disk or folder is read-only."
        if self._is_full():
            return f"database {self.name} cannot be written to: its disk is full."
        return ""

    def may_write_again(self) -> bool:
        """Whether connections for reading alone are to be closed, as writes succeed again; once."""
        if not self.is_read_only or self.problem():
            return False
        self.is_read_only = False
        return True

    def is_full_error(self, name: str) -> bool:
        """Whether an error of this name says that the disk is full."""
        may_be = ("SQLITE_IOERR", "SQLITE_READONLY")
        return name == "SQLITE_FULL" or (name.startswith(may_be) and self._is_full())

    def scrub(self) -> bool:
        """Write the file again without the bytes of deleted rows, and empty the write-ahead log.

        Writers wait meanwhile.

        Returns:
            whether the log is empty; a reader of an older state keeps it for a while.
        """
        connection = self.connect()
        try:
            connection.execute("VACUUM")
            most_ms = min(_CHECKPOINT_MS, int(1000 * self._busy_s))
            connection.execute(f"PRAGMA busy_timeout={most_ms}")
            for attempt in range(_CHECKPOINTS):
                time.sleep(attempt * most_ms / 1000)
                (is_busy, *_), *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                if not is_busy:
                    return True
            return False
        finally:
            connection.close()

    def copy_to(self, path: Path) -> None:
        """Write the file as of this moment to a new one, without the bytes of deleted rows.

        Others read and write meanwhile.
        """
        connection = self.connect()
        try:
            connection.execute("VACUUM INTO ?", (str(path),))
        finally:
            connection.close()

    def _open(self) -> Any:
        try:
            opened = self._connect(f"mode={self._mode}", "journal_mode=WAL", "synchronous=FULL")
            self.is_read_only |= not self._is_writable()
            return opened
        except self._module.OperationalError as error:
            reason = getattr(error, "sqlite_errorname", "")
            is_lasting = not self._is_writable() or reason.startswith(_NO_ROOM)
            if reason.startswith(_LOCKED) or not is_lasting:
                raise
        self.is_read_only = True
        wal = self.path.with_name(f"{self.name}-wal")
        if wal.exists() and wal.stat().st_size:
            return self._connect("mode=ro&vfs=unix-none", "locking_mode=EXCLUSIVE")
        return self._connect("mode=ro&immutable=1")

    def _connect(self, query: str, *pragmas: str) -> Any:
        connection = self._module.connect(
            f"file:{quote(str(self.path))}?{query}",
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
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _is_writable(self) -> bool:
        """Whether the file and its folder are writable; for a missing file, the folder."""
        places = [self.path.parent, *([self.path] if self.path.exists() else [])]
        return all(os.access(place, os.W_OK) for place in places)

    def _is_full(self) -> bool:
        try:
            disk = os.statvfs(self.path.parent)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize < _ROOM
