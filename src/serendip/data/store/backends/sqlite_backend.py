"""SQLite as the database of a store: one file, durable at each commit (WAL, ``synchronous=FULL``).

A write takes the write lock when it begins (``BEGIN IMMEDIATE``), so that it cannot fail halfway. A
read sees a snapshot of the moment it began and never waits for a writer.

SQLite comes from the ``pysqlite3`` wheel where it is installed: system builds before 3.51.3 can
corrupt a write-ahead log (WAL) that two connections write and checkpoint at the same time.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from serendip.data.store.backends.backend import WRITES, wait_until
from serendip.data.store.backends.commit_watch import FileWatch
from serendip.data.store.backends.sqlite_file import SqliteFile
from serendip.errors import BusyError, DiskFullError, LockedError, StorageError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_POOL = 16


class SqliteBackend:
    """One SQLite file.

    Args:
        path: of the file.
        create: whether to create a missing one.
        busy_s: how long a write waits for other writers.
    """

    dialect: Final = "sqlite"
    scrubbed = "rows, free pages and the write-ahead log"
    read_options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, path: Path, create: bool, busy_s: float) -> None:
        self._file = SqliteFile(path, sqlite_module(), busy_s, create)
        self.name = self._file.name
        self.failure = self._file.failure

    def create_engine(self) -> Engine:
        """Build the pool; a transaction begins here, as the connections are in autocommit mode."""
        from sqlalchemy import URL, create_engine, event

        engine = create_engine(
            URL.create("sqlite", database=self.name),
            module=sqlite_module(),
            creator=self._file.connect,
            pool_size=_POOL,
            max_overflow=48,
            pool_use_lifo=True,  # the last writer's connection still has the pages that it wrote
        )

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            writes = connection.get_execution_options().get(WRITES, False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return engine

    def require_same(self) -> None:
        """Check that the path still leads to the file that was opened first."""
        self._file.require_same()

    def keep_open(self, engine: Engine) -> None:
        """Open every connection of the pool, so that a file deleted later stays readable."""
        connections = [engine.connect() for _ in range(_POOL)]
        for connection in connections:
            connection.close()

    def last_number(self, connection: Connection, table: str, column: str) -> int:
        """The largest number that a column with AUTOINCREMENT has ever given out."""
        statement = "SELECT seq FROM sqlite_sequence WHERE name = ?"
        return int(connection.exec_driver_sql(statement, (table,)).scalar() or 0)

    def set_last_number(self, connection: Connection, table: str, column: str, number: int) -> None:
        """Let a column with AUTOINCREMENT give out only larger numbers from now on."""
        connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        statement = "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)"
        connection.exec_driver_sql(statement, (table, number))

    def translate(self, error: Exception) -> StorageError:
        """The error of this code for one of the driver."""
        name = _name_of(error)
        if name.startswith("SQLITE_BUSY"):
            return BusyError(
                f"database {self.name} is locked by another writer.",
                "Nothing was written. Try again when the other command has ended.",
            )
        if self._file.is_full_error(name):
            message = f"database {self.name} cannot be written to: its disk is full."
            return DiskFullError(message, "Nothing was written. Free some space.")
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        return StorageError(
            f"database {self.name}: {reason}.",
            "Nothing was written. Check free space, permissions and other writers.",
        )

    def problem(self) -> str:
        """Why a write would fail now, checked without writing; empty = no known problem."""
        return self._file.problem()

    def may_write_again(self) -> bool:
        """Whether connections for reading alone are to be closed, as writes succeed again; once."""
        return self._file.may_write_again()

    def damage(self, connection: Connection) -> list[str]:
        """Damage that ``integrity_check`` reports; empty = none."""
        lines = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return [str(line) for line in lines if line != "ok"]

    def weaknesses(self) -> list[str]:
        """Whether this version of SQLite keeps what several processes write."""
        if not may_corrupt_log(sqlite_version()):
            return []
        return [
            f"{self.version()} can corrupt a write-ahead log that two processes write: install "
            "pysqlite3, or SQLite 3.51.3 or later"
        ]

    def version(self) -> str:
        """Name and version."""
        return f"SQLite {'.'.join(map(str, sqlite_version()))}"

    def scrub(self) -> bool:
        """Write the file again without the bytes of deleted rows, and empty the write-ahead log."""
        return self._file.scrub()

    def copy_file(self, path: Path) -> bool:
        """Copy the file as of this moment, without the bytes of deleted rows."""
        self._file.copy_to(path)
        return True

    def watch(self) -> FileWatch:
        """A watch of the commits to the file."""
        return FileWatch(self._file)

    @contextmanager
    def exclusive(self, name: str, wait_s: float) -> Iterator[Callable[[], None]]:
        """Hold the lock of a file beside the database, which the system releases at the latest when
        this process ends.
        """
        path = self._file.path.with_name(f"{self.name}-{name}.lock")
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not wait_until(lambda: _lock(handle), wait_s):
                raise LockedError(
                    f"another process holds the lock `{name}` of database {self.name}.",
                    "Wait until that process has ended, then try again.",
                )
            yield lambda: None
        finally:
            os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file unless another process has done so."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _name_of(error: Exception) -> str:
    """SQLite's name of an error, such as ``SQLITE_FULL``; empty = it has none."""
    return str(getattr(getattr(error, "orig", error), "sqlite_errorname", ""))


def sqlite_version() -> tuple[int, int, int]:
    """Version of the SQLite that is used."""
    major, minor, patch = sqlite_module().sqlite_version_info
    return major, minor, patch


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
