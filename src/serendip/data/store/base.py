"""Connection pool of one database: durable SQLite or PostgreSQL; failures are ``StorageError``.

A read sees a snapshot of the moment it began and never waits for a writer. A write holds the write
lock from its beginning, so that numbers given out in a transaction grow in the order of commits.

``sqlite.py`` and ``postgres.py`` have what differs.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

from sqlalchemy import Connection, Engine, Executable, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import ClauseElement

from serendip.data.store.schema import driver_form
from serendip.errors import LockedError, LostConnectionError, StorageError

_log = logging.getLogger(__name__)

Dialect: TypeAlias = Literal["sqlite", "postgresql"]

PATIENT_S = 60.0  # how long a command waits for other writers
# Option of a connection whose transactions take the write lock when they begin.
WRITES = "serendip_writes"
# Option of one that writes and may be silent for long between two statements.
MAY_PAUSE = "serendip_may_pause"
_POLL_S = 0.1


class Database(ABC):
    """A pool of connections to one database; thread-safe.

    The name is for messages, which may reach clients: no folder, no server and no password.
    """

    dialect: ClassVar[Dialect]
    is_remote: ClassVar[bool]  # whether ``commit_number`` asks a server
    scrubbed: ClassVar[str]  # what has no bytes of deleted rows after ``scrub``, for people
    _read_options: ClassVar[Mapping[str, Any]] = {}
    _begin_read: ClassVar[str]  # first statement of a read transaction of the driver
    _read_commits: ClassVar[str]  # selects what changes with every commit
    _last_number: ClassVar[str]
    _set_last_number: ClassVar[tuple[str, ...]]  # with ``table``, ``column`` and ``number``

    def __init__(self, name: str, failure: type[Exception], busy_timeout_s: float) -> None:
        self.name, self.busy_timeout_s, self._failure = name, busy_timeout_s, failure
        self._engine = self._create_engine()
        self._reading = self._engine.execution_options(**self._read_options)
        self._watch: Any = None
        self._watch_lock = threading.Lock()
        self._watch_has_failed = False

    @contextmanager
    def read(self, within: Connection | None = None) -> Iterator[Connection]:
        """Open a read transaction, or use ``within``: all selects see the same snapshot."""
        if within is not None:
            yield within
            return
        with self._errors(), self._reading.begin() as connection:
            yield connection

    def rows(self, statement: Executable) -> Sequence[Any]:
        """The rows of a statement, read in a transaction of its own."""
        with self.read() as connection:
            return connection.execute(statement).all()

    @contextmanager
    def read_by_driver(self) -> Iterator[Callable[[ClauseElement, Mapping[str, Any]], list[Any]]]:
        """Like ``read``, but yields what fetches rows, at half the cost of a small read."""
        with self._errors(), closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute(self._begin_read)

            def fetch(statement: ClauseElement, values: Mapping[str, Any]) -> list[Any]:
                text, order = driver_form(statement, self._engine.dialect)
                cursor.execute(text, order(values))
                return list(cursor.fetchall())

            yield fetch

    @contextmanager
    def write(self, may_pause: bool = False) -> Iterator[Connection]:
        """Open a write transaction: atomic, durable when the block ends, one writer at a time.

        A server ends writes that are silent for too long, unless they ``may_pause``.

        Raises:
            BusyError: other writers held the database for longer than the timeout, or the server
                ended this write.
            LostConnectionError: the server fell silent while it committed: nobody knows.
            StorageError: nothing was written; also if the database was deleted, replaced or moved.
        """
        with self._errors(), self._engine.connect() as connection:
            self._require_same()
            connection.execution_options(**{WRITES: True, MAY_PAUSE: may_pause})
            with connection.begin() as transaction:
                yield connection
                with self._errors(is_commit=True):
                    transaction.commit()
            self._require_same()  # replaced meanwhile: the write went into an unlinked file

    @contextmanager
    def exclusive(self, name: str, wait_s: float = 0.0) -> Iterator[Callable[[], None]]:
        """Be the only process of all machines with this database that does something.

        Waits ``wait_s`` for another process; else it is a ``LockedError``. Yields what raises a
        ``StorageError`` if the lock was lost meanwhile: the block calls it just before what it does
        takes effect. A loss that is seen after the block is only logged.
        """
        end = time.monotonic() + wait_s
        with self._errors(), self._named_lock(name) as (take, require_held):
            while not take():
                if time.monotonic() >= end:
                    raise LockedError(
                        f"another process holds the lock `{name}` of database {self.name}.",
                        "Wait until that process has ended, then try again.",
                    )
                time.sleep(_POLL_S)
            yield require_held
            try:
                require_held()
            except StorageError as error:
                _log.warning("%s What was done under it before stays.", error.message)

    def problem(self) -> str:
        """Why a write would fail now, checked without writing; empty = no known problem."""
        try:
            if problem := self._find_problem():
                return problem
            self.rows(text("SELECT 1"))
        except StorageError as error:
            return error.message
        return ""

    def commit_number(self) -> int | None:
        """A number that is the same as long as nothing is committed; None = not known.

        A commit that has returned is seen by the next call, whichever process made it. While one
        thread finds out whether the database is back, the others do not wait for it.
        """
        if not self._watch_lock.acquire(blocking=not self._watch_has_failed):
            return None
        try:
            if self._watch is None:
                self._watch = self._connect()
            state = self._watch.execute(self._read_commits).fetchone()[0]
            self._watch_has_failed = False
            return int.from_bytes(str(state).encode())
        except (StorageError, self._failure):
            self._watch_has_failed = True
            self._close_watch()
            return None
        finally:
            self._watch_lock.release()

    def _close_watch(self) -> None:
        watch, self._watch = self._watch, None
        with suppress(self._failure):
            if watch is not None:
                watch.close()

    def close(self) -> None:
        """Close all connections."""
        with self._watch_lock:
            self._close_watch()
        self._engine.dispose()

    @contextmanager
    def _errors(self, is_commit: bool = False) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, self._failure) as error:
            told = self._translate(error)
            if isinstance(told, LostConnectionError) and not is_commit:  # it was rolled back
                told = StorageError(told.message, told.hint)
            raise told from error

    def last_number(self, connection: Connection, table: str, column: str) -> int:
        """The largest number that a column that counts by itself has ever given out; 0 = none."""
        names = {"table": table, "column": column}
        return int(connection.execute(text(self._last_number), names).scalar() or 0)

    def set_last_number(self, connection: Connection, table: str, column: str, number: int) -> None:
        """Let a column that counts by itself give out only larger numbers from now on."""
        values = {"table": table, "column": column, "number": number}
        for statement in self._set_last_number:
            connection.execute(text(statement), values)

    # What only a file has to do.

    def keep_open(self) -> None:  # noqa: B027
        """Stay readable although a file is deleted."""

    def copy_file(self, path: Path) -> bool:
        """Copy the file as of this moment, without the bytes of deleted rows; False = none is."""
        return False

    def _require_same(self) -> None:  # noqa: B027
        """Check that this is still the database that was opened, else a write would be lost."""

    def integrity(self) -> list[str]:
        """Damage of the file; empty = none. A server checks its own (``pg_amcheck``)."""
        return []

    # What both do in their ways.

    @abstractmethod
    def weaknesses(self) -> list[str]:
        """What of its version or its settings may lose data, as sentences; empty = nothing."""

    @abstractmethod
    def version(self) -> str:
        """Name and version of the database."""

    @abstractmethod
    def scrub(self) -> bool:
        """Remove the bytes of deleted rows; writers wait meanwhile, and it needs its size twice.

        Returns whether all are gone: somebody may still be reading an older state.
        """

    @abstractmethod
    def _create_engine(self) -> Engine: ...

    @abstractmethod
    def _connect(self) -> Any:
        """A connection of the driver in autocommit mode, which the caller closes."""

    @abstractmethod
    def _translate(self, error: Exception) -> StorageError: ...

    @abstractmethod
    def _find_problem(self) -> str: ...

    @abstractmethod
    def _named_lock(
        self, name: str
    ) -> AbstractContextManager[tuple[Callable[[], bool], Callable[[], None]]]:
        """What takes a lock unless another process holds it, and what checks that it is held."""
