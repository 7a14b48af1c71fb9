"""One SQLite file: how it is opened, and whether it still is the file that was opened.

A file is opened for reading and writing. Where that fails because nothing can be written, it is
opened in a way that needs no writing, and reads are answered; ``limit_is_over`` says when its
connections may be replaced by usual ones:

- the disk is full: no room for ``-shm``. Its content is kept in memory instead, and other processes
  are locked out, as they could not see it;
- the file or its folder cannot be written to: ``-shm`` and ``-wal`` cannot be made. Without a
  ``-shm`` nobody writes, so the file is read as it is ("frozen"). As soon as there is one, somebody
  does, by another mount.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from serendip.errors import StorageError

Limit: TypeAlias = Literal["", "full", "read-only", "frozen"]

_ROOM = 1 << 20
_NO_ROOM, _LOCKED = ("SQLITE_IOERR", "SQLITE_FULL"), ("SQLITE_BUSY", "SQLITE_LOCKED")


class SqliteFile:
    """The file of one database; safe to use from many threads.

    Args:
        path: where it is.
        module: the driver.
        busy_s: how long a connection waits for the lock of another one.
        create: whether it is made where it is missing.
    """

    def __init__(self, path: Path, module: ModuleType, busy_s: float, create: bool) -> None:
        self.name = path.name
        self._path, self._module, self._busy_s = Path(os.path.abspath(path)), module, busy_s
        self._mode = "rwc" if create else "rw"
        self._identity: tuple[int, int] | None = None
        self._limits: set[Limit] = set()
        self._lock = threading.Lock()

    def connect(self) -> Any:
        """Make a connection that sets no transaction of its own.

        Raises:
            StorageError: the file is missing, or another one than before.
        """
        if self._mode == "rw" or self._identity is not None:
            self.require_same()
        before = self._found()
        connection, limit = self._open()
        try:
            with self._lock:
                self._identity = self._identity or before or self._found()
                self._limits |= {limit} - {""}
            self.require_same()
        except StorageError:
            connection.close()
            raise
        return connection

    def require_same(self) -> None:
        """Check that the path still leads to the file that was opened first.

        Raises:
            StorageError: it does not; what was written now would be lost.
        """
        if loss := self.loss():
            raise StorageError(*loss)

    def loss(self) -> tuple[str, str] | None:
        """What became of the file that was opened first, and the next step; None = it is there."""
        found = self._found()
        if found is None and self._identity is None:
            return (
                f"database {self.name} does not exist.",
                "Restore it from a backup; `serendip import` makes one from your files alone.",
            )
        if found is None:
            return (
                f"database {self.name} was deleted while it was open; nothing is written.",
                "Restore it from a backup and restart.",
            )
        if self._identity not in (None, found):
            return (
                f"database {self.name} was replaced while it was open; nothing is written.",
                "Restart to use the file that is there now.",
            )
        return None

    def problem(self) -> str:
        """Why a write would fail now, as far as it can be seen; empty = nothing is known."""
        if loss := self.loss():
            return loss[0]
        if not self._is_writable():
            return f"database {self.name} cannot be written to: its disk or folder is read-only."
        if self._is_full():
            return f"database {self.name} cannot be written to: its disk is full."
        return ""

    def limit_is_over(self) -> bool:
        """Whether a connection is limited, and a new one would not be; whoever asks closes all.

        Never while the file is lost: what is open now is all that can still be read of it.
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
        """A connection, and what limits it."""
        try:
            usual = self._connect(f"mode={self._mode}", "journal_mode=WAL", "synchronous=FULL")
            return usual, "" if self._is_writable() else "read-only"
        except self._module.OperationalError as error:
            reason = getattr(error, "sqlite_errorname", "")
            if not reason.startswith(_LOCKED) and not self._is_writable():
                return self._connect(*self._as_it_is()), "frozen"
            if reason.startswith(_NO_ROOM):
                return self._connect("mode=rw&vfs=unix-excl", "synchronous=FULL"), "full"
            raise

    def _as_it_is(self) -> tuple[str, ...]:
        """How to open a file whose ``-shm`` is not there and cannot be made."""
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
            isolation_level=None,  # transactions begin where ``Database`` says so
        )
        try:
            for pragma in (*pragmas, "schema_version"):  # the last one reads the file
                connection.execute(f"PRAGMA {pragma}").fetchall()
        except self._module.Error:
            connection.close()
            raise
        return connection

    def _found(self) -> tuple[int, int] | None:
        """Device and inode that the path leads to; None where there is no file."""
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _is_writable(self) -> bool:
        """Whether file and folder may be written to; of a file that is to be made, its folder."""
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
