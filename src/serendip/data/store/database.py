"""Connection pool of one database: durable SQLite or PostgreSQL; failures are ``StorageError``.

Only ``with_tables`` creates a database; every other way in expects one and opens it unchanged.
A write takes the write lock when it begins (``BEGIN IMMEDIATE``), so that it cannot fail halfway.
A read sees a snapshot of the moment it began and never waits for a writer (WAL).

SQLite comes from the ``pysqlite3`` wheel where it is installed: system builds before 3.51.3 can
corrupt a write-ahead log (WAL) that two connections write and checkpoint at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from serendip.data.store.commit_watch import CommitWatch
from serendip.data.store.sqlite_file import SqliteFile
from serendip.errors import BusyError, DiskFullError, StorageError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData
    from sqlalchemy.exc import SQLAlchemyError

PATIENT_S = 60.0
"""How long a command waits for other writers."""

_POOL = 16
_WRITES = "serendip_writes"

_DISK_FAILS = "SQLITE_IOERR"
_AFTER_FAILED_SYNC = "Nothing more is written. Check the disk, then restart."
"""After a failed sync the system may have dropped what it did not write, and a second sync that
succeeds says nothing about it."""


class Database:
    """A pool of connections to one database.

    Args:
        url_or_path: path of a SQLite file, or a URL.
        create: whether to create a missing SQLite file.
        busy_timeout_s: how long a write waits for other writers of a SQLite file.
    """

    def __init__(
        self, url_or_path: str | Path, create: bool = False, busy_timeout_s: float = PATIENT_S
    ) -> None:
        self._file: SqliteFile | None = None
        if "://" not in str(url_or_path):
            self._file = SqliteFile(Path(url_or_path), _sqlite_module(), busy_timeout_s, create)
        self._engine = _engine(self._file or str(url_or_path))
        # Error messages reach clients: they show the name only, never a folder or a password.
        self.name = self._file.name if self._file else str(self._engine.url.database)
        self._num_users, self._users_lock = 0, threading.Lock()
        self._watch = CommitWatch(self._file)
        self._failed_sync = ""

    @classmethod
    def with_tables(cls, url_or_path: str | Path, tables: MetaData) -> Database:
        """Open a database, creating file, tables and later columns where they are missing.

        Raises:
            StorageError: it cannot be opened, or another version of this code made it.
        """
        from serendip.data.store.upgrade import add_later_parts

        database = cls(url_or_path, create=True)
        try:
            with database.write() as connection:
                tables.create_all(connection)
                add_later_parts(connection, tables)
                database._require_tables(connection, tables)
        except StorageError:
            database.close()
            raise
        return database

    @classmethod
    def existing(
        cls, url_or_path: str | Path, tables: MetaData, busy_timeout_s: float = PATIENT_S
    ) -> Database:
        """Open an existing database that has these tables.

        It reads only, so it waits for no writer; only what was added to the tables after the
        version that made the database is added to it, once.

        Raises:
            StorageError: the database or a table is missing, it cannot be opened, or another
                version of this code made it.
        """
        from serendip.data.store.upgrade import add_later_parts, lacks_later_parts

        database = cls(url_or_path, busy_timeout_s=busy_timeout_s)
        try:
            with database.read() as connection:
                is_older = lacks_later_parts(connection, tables)
            if is_older:
                with database.write() as connection:
                    add_later_parts(connection, tables)
            with database.read() as connection:
                database._require_tables(connection, tables)
        except StorageError:
            database.close()
            raise
        return database

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read transaction: all selects in the block see the same snapshot."""
        with self._errors(), self._in_use(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a write transaction: atomic, durable when the block ends, one writer at a time.

        Raises:
            BusyError: other writers held the database for longer than the timeout.
            StorageError: nothing was written; also if the file was deleted or replaced.
        """
        with (
            self._errors(),
            self._in_use(),
            self._engine.connect() as connection,
            self.begin_write(connection),
        ):
            yield connection

    @contextmanager
    def own_connection(self) -> Iterator[Connection]:
        """A connection outside any transaction; its temporary tables end with the block."""
        with self._errors(), self._in_use(), self._engine.connect() as connection:
            connection.detach()  # closed at the end, not returned to the pool with its tables
            yield connection

    @contextmanager
    def begin_write(self, connection: Connection) -> Iterator[None]:
        """Begin a transaction that holds the write lock from its start."""
        from sqlalchemy.exc import OperationalError

        self._require_same_file()
        if self._failed_sync:
            raise StorageError(self._failed_sync, _AFTER_FAILED_SYNC)
        connection.execution_options(**{_WRITES: True})
        try:
            with connection.begin():
                yield
        except OperationalError as error:
            self._note_failed_write(error)
            raise
        self._require_same_file()  # replaced meanwhile: the write went into an unlinked file

    def integrity(self) -> list[str]:
        """Damage that SQLite's ``integrity_check`` reports; empty = none."""
        from sqlalchemy.exc import OperationalError

        if self._file is None:
            return []
        try:
            with self.read() as connection:
                lines = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        except StorageError as error:
            if isinstance(error.__cause__, OperationalError):  # locked, or the disk fails
                raise
            return [error.message]
        return [str(line) for line in lines if line != "ok"]

    def scrub(self, tables: Sequence[str] | None = None) -> bool:
        """Remove the bytes of deleted rows from tables, and empty the write-ahead log.

        Writers wait meanwhile, in proportion to the size of the tables; it needs that size twice.

        Args:
            tables: by name; None = the whole file is written again.

        Returns:
            whether all bytes are gone: somebody may still be reading an older state from the log.

        Raises:
            BusyError: other writers held the database for longer than the timeout.
            StorageError: the file cannot be written.
        """
        if self._file is None:
            return True
        with self._errors():
            return self._file.scrub(tables)

    def copy_to(self, path: Path) -> None:
        """Write a copy as of this moment, without the bytes of deleted rows, to a new SQLite file.

        Raises:
            StorageError: this is no SQLite file, or the copy cannot be written.
        """
        if self._file is None:
            raise StorageError(
                f"database {self.name} is no file that can be copied.",
                "Back it up with the tools of its server.",
            )
        with self._errors():
            self._file.copy_to(path)

    def problem(self) -> str:
        """Why a write would fail now, checked without writing; empty = no known problem."""
        if self._file is None or self._failed_sync:
            return self._failed_sync
        with self._in_use():  # normal connections replace limited ones where possible
            return self._file.problem()

    def keep_open(self) -> None:
        """Open every connection of the pool, so that a file deleted later stays readable."""
        with self._errors():
            connections = [self._engine.connect() for _ in range(_POOL)]
        for connection in connections:
            connection.close()

    def commit_number(self) -> int | None:
        """A number that is the same as long as nothing is committed; None = not known."""
        return self._watch.number()

    def close(self) -> None:
        """Close all connections."""
        self._watch.close()
        self._engine.dispose()

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Count the users of connections: limited ones can only be replaced all at once."""
        with self._users_lock:
            if not self._num_users and self._file is not None and self._file.limit_is_over():
                self._engine.dispose()
            self._num_users += 1
        try:
            yield
        finally:
            with self._users_lock:
                self._num_users -= 1

    def _require_tables(self, connection: Connection, tables: MetaData) -> None:
        """Check that the tables exist and have the columns that this code reads and writes."""
        from sqlalchemy import inspect

        inspector = inspect(connection)
        existing = set(inspector.get_table_names())
        for name in sorted(set(tables.tables) & existing):
            columns = {str(column["name"]) for column in inspector.get_columns(name)}
            if differing := sorted(columns ^ set(tables.tables[name].columns.keys())):
                raise StorageError(
                    f"database {self.name} is of another version: table {name} differs in column "
                    f"{', '.join(differing)}.",
                    "Move it away and run `serendip import`, which rebuilds only what is in your "
                    "files.",
                )
        if missing := sorted(set(tables.tables) - existing):
            raise StorageError(
                f"database {self.name} has no table {', '.join(missing)}.",
                "Restore it from a backup, or run `serendip import`, which rebuilds only what "
                "is in your files.",
            )

    def _require_same_file(self) -> None:
        if self._file is not None:
            self._file.require_same()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError

        failure = SQLAlchemyError if self._file is None else self._file.failure
        try:
            yield
        except (SQLAlchemyError, failure) as error:
            raise self._translate(error) from error

    def _note_failed_write(self, error: SQLAlchemyError) -> None:
        """Write nothing more after an error of the disk that is not for want of room."""
        name = _name_of(error)
        if name.startswith(_DISK_FAILS) and not (self._file and self._file.is_full_error(name)):
            self._failed_sync = f"database {self.name}: the disk failed, so writes may be lost."

    def _translate(self, error: Exception) -> StorageError:
        """The error of this code for one of the driver."""
        name = _name_of(error)
        if name.startswith("SQLITE_BUSY"):
            return BusyError(
                f"database {self.name} is locked by another writer.",
                "Nothing was written. Try again when the other command has ended.",
            )
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        message = f"database {self.name}: {reason}."
        if self._file is not None and self._file.is_full_error(name):
            return DiskFullError(message, "Nothing was written. Free some space.")
        return StorageError(
            message, "Nothing was written. Check free space, permissions and other writers."
        )


def _name_of(error: Exception) -> str:
    """SQLite's name of an error, such as ``SQLITE_FULL``; empty for other databases."""
    return str(getattr(getattr(error, "orig", error), "sqlite_errorname", ""))


def _engine(source: SqliteFile | str) -> Engine:
    from sqlalchemy import URL, create_engine

    if isinstance(source, str):
        return create_engine(source)
    engine = create_engine(
        URL.create("sqlite", database=source.name),
        module=_sqlite_module(),
        creator=source.connect,
        pool_size=_POOL,
        max_overflow=48,
    )
    _take_lock_at_begin(engine)
    return engine


def sqlite_version() -> tuple[int, int, int]:
    """Version of the SQLite that is used."""
    major, minor, patch = _sqlite_module().sqlite_version_info
    return major, minor, patch


def may_corrupt_log(version: tuple[int, int, int]) -> bool:
    """Whether a version of SQLite can corrupt a write-ahead log that two processes write.

    See "WAL-reset bug" of sqlite.org/wal.html: 3.7.0 to 3.51.2, mended in 3.44.6 and 3.50.7.
    """
    if version[:2] in ((3, 44), (3, 50)):
        return version < ((3, 44, 6) if version[1] == 44 else (3, 50, 7))
    return (3, 7, 0) <= version < (3, 51, 3)


def _sqlite_module() -> ModuleType:
    try:
        from pysqlite3 import dbapi2
    except ImportError:
        import sqlite3 as dbapi2
    module: ModuleType = dbapi2
    return module


def _take_lock_at_begin(engine: Engine) -> None:
    from sqlalchemy import event

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
