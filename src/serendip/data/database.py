"""Connections: SQLite tuned to lose nothing, every failure a ``StorageError``.

SQLite comes from the ``pysqlite3`` wheel where it is installed: system builds before 3.51.3 can
corrupt a WAL that two connections write and checkpoint at once. Writers take the write lock when
they begin, so that none fails halfway; readers see the state of the moment they began and wait for
nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from serendip.errors import BusyError, StorageError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData

PATIENT_S = 60.0
"""How long a command waits for other writers."""

_WRITES = "serendip_writes"


class Database:
    """A pool of connections to one database.

    Args:
        url_or_path: path of a SQLite file (created if missing), or a URL.
        busy_timeout_s: how long a write waits for other writers of a SQLite file.
    """

    def __init__(self, url_or_path: str | Path, busy_timeout_s: float = PATIENT_S) -> None:
        self.name = str(url_or_path)
        self._engine = _engine(self.name, busy_timeout_s)

    @classmethod
    def with_tables(
        cls, url_or_path: str | Path, tables: MetaData, busy_timeout_s: float = PATIENT_S
    ) -> Database:
        """Open a database, creating file and tables where they are missing.

        Raises:
            StorageError: it cannot be opened.
        """
        database = cls(url_or_path, busy_timeout_s)
        with database.write() as connection:
            tables.create_all(connection)
        return database

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view: all selects in the block see the same state."""
        with self._errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """All or nothing, durable when the block ends; one writer at a time.

        Raises:
            BusyError: other writers held the database all the time that a write waits.
        """
        with self._errors(), self._engine.connect() as connection, begin_write(connection):
            yield connection

    @contextmanager
    def own_connection(self) -> Iterator[Connection]:
        """A connection in no transaction; its temporary tables end with the block."""
        with self._errors(), self._engine.connect() as connection:
            connection.detach()  # closed at the end, not given to the next one with its tables
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None)
            if str(getattr(cause, "sqlite_errorname", "")).startswith("SQLITE_BUSY"):
                raise BusyError(
                    f"database {self.name}: other writers hold it.",
                    "Nothing was written. Try again when they have ended.",
                ) from error
            reason = str(cause or error).splitlines()[0]
            raise StorageError(
                f"database {self.name}: {reason}.",
                "Nothing was written. Check free space, permissions and other writers.",
            ) from error


@contextmanager
def begin_write(connection: Connection) -> Iterator[None]:
    """A transaction that has the write lock from its beginning, on a connection in none."""
    connection.execution_options(**{_WRITES: True})
    with connection.begin():
        yield


def _engine(name: str, busy_timeout_s: float) -> Engine:
    from sqlalchemy import URL, create_engine

    if "://" in name:
        return create_engine(name)
    url = URL.create("sqlite", database=name)
    engine = create_engine(
        url,
        module=_sqlite_module(),
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
        pool_size=16,
        max_overflow=48,
    )
    _tune(engine)
    return engine


def _sqlite_module() -> ModuleType:
    try:
        from pysqlite3 import dbapi2
    except ImportError:
        import sqlite3 as dbapi2
    module: ModuleType = dbapi2
    return module


def _tune(engine: Engine) -> None:
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where ``begin`` below says so
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=OFF"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
