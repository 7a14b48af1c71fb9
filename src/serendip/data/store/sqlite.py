"""SQLite as the database of a store: one file, durable at each commit (WAL, ``synchronous=FULL``).

A write takes the write lock when it begins (``BEGIN IMMEDIATE``), so that it cannot fail halfway. A
read sees a snapshot of the moment it began and never waits for a writer.

A file is opened for reading and writing. If that fails because nothing can be written (a read-only
or full disk, on which ``-shm`` cannot be made), it is opened for reading alone, without locks, as
nobody else can write to such a file.

SQLite comes from the ``pysqlite3`` wheel where it is installed: system builds before 3.51.3 can
corrupt a write-ahead log (WAL) that two connections write and checkpoint at the same time.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError

from serendip.data.store.base import WRITES, Database
from serendip.errors import BusyError, DiskFullError, StorageError
from serendip.runtime.atomic_files import storage_errors

_POOL = 16
_ROOM = 1 << 20
_AGAIN_S = 0.01
# Attempts to empty the write-ahead log, and how long each waits for readers.
_CHECKPOINTS, _CHECKPOINT_MS = 4, 500
_NO_ROOM, _LOCKED = ("SQLITE_IOERR", "SQLITE_FULL"), ("SQLITE_BUSY", "SQLITE_LOCKED")


class SqliteDatabase(Database):
    """One SQLite file, which is created if it is missing and that is asked for."""

    dialect = "sqlite"
    is_remote = False
    scrubbed = "rows, free pages and the write-ahead log"
    _begin_read = "BEGIN"
    _read_commits = "PRAGMA data_version"
    _last_number = "SELECT seq FROM sqlite_sequence WHERE name = :table"
    _set_last_number = (
        "DELETE FROM sqlite_sequence WHERE name = :table",
        "INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :number)",
    )

    def __init__(self, path: Path, create: bool, busy_timeout_s: float) -> None:
        self._path, self._module = Path(os.path.abspath(path)), sqlite_module()
        if create:  # -wal and -shm get the rights of the file
            # Of a file that is there, closing would drop the locks of this process on it.
            with suppress(OSError):  # SQLite tells why
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        self._creates, self._identity = create, self._file_identity()
        self._is_read_only = False
        super().__init__(path.name, self._module.Error, busy_timeout_s)

    def _create_engine(self) -> Engine:
        engine = create_engine(
            URL.create("sqlite", database=self._path.name),
            module=self._module,
            creator=self._connect,
            pool_size=_POOL,
            max_overflow=48,
            pool_use_lifo=True,  # the last writer's connection still has the pages that it wrote
        )

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            writes = connection.get_execution_options().get(WRITES, False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return engine

    def _connect(self) -> Any:
        if self._identity is not None or not self._creates:
            self._require_same()
        connection = self._open()
        self._identity = self._identity or self._file_identity()
        try:
            self._require_same()
        except StorageError:
            connection.close()
            raise
        return connection

    def _open(self) -> Any:
        end = time.monotonic() + self.busy_timeout_s
        while True:
            try:
                opened = self._open_by("mode=rw", "journal_mode=WAL", "synchronous=FULL")
                self._is_read_only |= not self._is_writable()
                return opened
            except self._module.OperationalError as error:
                reason = getattr(error, "sqlite_errorname", "")
                if not reason.startswith(_LOCKED):
                    if self._is_writable() and not reason.startswith(_NO_ROOM):
                        raise
                    break
                # Of two that turn on the write-ahead log at once SQLite lets neither wait.
                if time.monotonic() >= end:
                    raise
                time.sleep(_AGAIN_S)
        self._is_read_only = True
        wal = self._path.with_name(f"{self._path.name}-wal")
        if wal.exists() and wal.stat().st_size:
            return self._open_by("mode=ro&vfs=unix-none", "locking_mode=EXCLUSIVE")
        return self._open_by("mode=ro&immutable=1")

    def _open_by(self, query: str, *pragmas: str) -> Any:
        connection = self._module.connect(
            f"file:{quote(str(self._path))}?{query}",
            uri=True,
            timeout=self.busy_timeout_s,
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

    def keep_open(self) -> None:
        """Open every connection of the pool, so that a file deleted later stays readable."""
        with self._errors(), ExitStack() as opened:
            for _ in range(_POOL):
                opened.enter_context(self._engine.connect())

    def _require_same(self) -> None:
        current = self._file_identity()
        if current is not None and self._identity in (None, current):
            return
        happened, hint = "does not exist", "or run `serendip import`, which makes one from files."
        if self._identity is not None:
            happened = f"was {'replaced' if current else 'deleted'} while it was open"
            hint = "and restart; a restart uses a new file."
        raise StorageError(f"database {self.name} {happened}.", f"Restore it from a backup, {hint}")

    def _file_identity(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None  # no file
        return status.st_dev, status.st_ino

    def commit_number(self) -> int | None:
        """See ``Database``; None where nothing can be written."""
        return None if self._is_read_only else super().commit_number()

    def _translate(self, error: Exception) -> StorageError:
        name = str(getattr(getattr(error, "orig", error), "sqlite_errorname", ""))
        if name.startswith("SQLITE_BUSY"):
            return BusyError(
                f"database {self.name} is locked by another writer.",
                "Nothing was written. Try again when the other command has ended.",
            )
        if self._is_full_error(name):
            message = f"database {self.name} cannot be written to: its disk is full."
            return DiskFullError(message, "Nothing was written. Free some space.")
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return StorageError(
            f"database {self.name}: {reason}.",
            "Nothing was written. Check free space, permissions and other writers.",
        )

    def _is_full_error(self, name: str) -> bool:
        may_be = name.startswith(("SQLITE_IOERR", "SQLITE_READONLY"))
        return name == "SQLITE_FULL" or (may_be and self._is_full())

    def _find_problem(self) -> str:
        self._require_same()
        if not self._is_writable():
            return f"database {self.name} cannot be written to: its disk or folder is read-only."
        if self._is_full():
            return f"database {self.name} cannot be written to: its disk is full."
        if self._is_read_only:  # writes succeed again, but not by connections for reading alone
            self._is_read_only = False
            self._engine.dispose()
        return ""

    def _is_writable(self) -> bool:
        places = [self._path.parent, *([self._path] if self._path.exists() else [])]
        return all(os.access(place, os.W_OK) for place in places)

    def _is_full(self) -> bool:
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize < _ROOM

    def integrity(self) -> list[str]:
        """See ``Database``."""
        try:
            lines = [str(row[0]) for row in self.rows(text("PRAGMA integrity_check"))]
        except StorageError as error:
            if isinstance(error.__cause__, OperationalError):  # locked, or the disk fails
                raise
            return [error.message]
        return [line for line in lines if line != "ok"]

    def weaknesses(self) -> list[str]:
        """Whether this version of SQLite keeps what several processes write."""
        problem = (
            f"{self.version()} can corrupt a write-ahead log that two processes write: install "
            "pysqlite3, or SQLite 3.51.3 or later"
        )
        return [problem] if may_corrupt_log(self._module.sqlite_version_info) else []

    def version(self) -> str:
        """Name and version."""
        return f"SQLite {self._module.sqlite_version}"

    def scrub(self) -> bool:
        """Write the file again without the bytes of deleted rows, and empty the write-ahead log."""
        with self._errors(), closing(self._connect()) as connection:
            connection.execute("VACUUM")
            most_ms = min(_CHECKPOINT_MS, int(1000 * self.busy_timeout_s))
            connection.execute(f"PRAGMA busy_timeout={most_ms}")
            for attempt in range(_CHECKPOINTS):
                time.sleep(attempt * most_ms / 1000)
                (is_busy, *_), *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                if not is_busy:
                    return True
            return False  # a reader of an older state keeps the log for a while

    def copy_file(self, path: Path) -> bool:
        """Copy the file as of this moment, while others read and write."""
        with self._errors(), closing(self._connect()) as connection:
            connection.execute("VACUUM INTO ?", (str(path),))
        return True

    @contextmanager
    def _named_lock(self, name: str) -> Iterator[tuple[Callable[[], bool], Callable[[], None]]]:
        path = self._path.with_name(f"{self.name}-{name}.lock")
        with storage_errors(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

        def take() -> bool:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        try:
            yield take, lambda: None
        finally:
            os.close(handle)


def may_corrupt_log(version: tuple[int, int, int]) -> bool:
    """Whether a version of SQLite can corrupt a write-ahead log that two processes write.

    See "WAL-reset bug" of sqlite.org/wal.html: 3.7.0 to 3.51.2, mended in 3.44.6 and 3.50.7.
    """
    if version[:2] in ((3, 44), (3, 50)):
        return version < ((3, 44, 6) if version[1] == 44 else (3, 50, 7))
    return (3, 7, 0) <= version < (3, 51, 3)


def sqlite_module() -> ModuleType:
    """The driver."""
    try:
        from pysqlite3 import dbapi2
    except ImportError:
        import sqlite3 as dbapi2
    module: ModuleType = dbapi2
    return module
