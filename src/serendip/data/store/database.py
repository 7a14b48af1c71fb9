"""Connection pool of one database: durable SQLite or PostgreSQL; failures are ``StorageError``.

Only ``create`` and ``with_tables`` create one; every other way in opens it unchanged. A
read sees a snapshot of the moment it began and never waits for a writer. A write holds the write
lock from its beginning, so that numbers given out in a transaction grow in the order of commits.

What differs between the two is behind ``backend.Backend``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from serendip.data.store.backends.backend import MAY_PAUSE, WRITES
from serendip.data.store.config import DatabasePlace
from serendip.errors import StorageError

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData

    from serendip.data.store.backends.backend import Backend, Dialect

PATIENT_S = 60.0
"""How long a command waits for other writers."""


class Database:
    """A pool of connections to one database.

    Args:
        place: path of a SQLite file, or URL of a PostgreSQL database.
        create: whether to create a missing SQLite file.
        busy_timeout_s: how long a write waits for other writers.
    """

    def __init__(
        self, place: DatabasePlace, create: bool = False, busy_timeout_s: float = PATIENT_S
    ) -> None:
        self._backend = _open_backend(place, create, busy_timeout_s)
        self._engine = self._backend.create_engine()
        self._reading = self._engine.execution_options(**self._backend.read_options)
        self.name, self.busy_timeout_s = self._backend.name, busy_timeout_s
        self._watch = self._backend.watch()
        self._has_meta = False

    @classmethod
    def create(cls, place: DatabasePlace) -> Database:
        """Open a database of a store, creating file and tables where they are missing.

        Raises:
            StorageError: it cannot be opened, or another version of this code made it.
        """
        from serendip.data.store.migrations import migrate

        return cls(place, create=True)._checked(lambda database: database._write_by(migrate))

    @classmethod
    def with_tables(cls, place: DatabasePlace, tables: MetaData) -> Database:
        """Open a database, creating file and tables beside those of the store where they are
        missing.

        Raises:
            StorageError: it cannot be opened.
        """

        def create(connection: Connection, name: str) -> None:
            tables.create_all(connection)

        return cls(place, create=True)._checked(lambda database: database._write_by(create))

    @classmethod
    def existing(cls, place: DatabasePlace, busy_timeout_s: float = PATIENT_S) -> Database:
        """Open the database of a store that exists; it reads only, so it waits for no writer.

        Raises:
            StorageError: the database or its tables are missing, it cannot be opened, or another
                version of this code made it.
        """
        return cls(place, busy_timeout_s=busy_timeout_s)._checked(Database._require_tables)

    def _checked(self, check: Callable[[Database], None]) -> Database:
        try:
            check(self)
        except StorageError:
            self.close()
            raise
        return self

    def _write_by(self, write: Callable[[Connection, str], None]) -> None:
        with self.write() as connection:
            write(connection, self.name)

    def _require_tables(self) -> None:
        from serendip.data.store.migrations import is_behind

        with self.read() as connection:
            if is_behind(connection, self.name):
                raise StorageError(
                    f"database {self.name} has no tables.",
                    "Restore it from a backup, or run `serendip import`, which rebuilds only what "
                    "is in your files.",
                )

    @property
    def dialect(self) -> Dialect:
        """``sqlite`` or ``postgresql``."""
        return self._backend.dialect

    @property
    def scrubbed(self) -> str:
        """What has no bytes of deleted rows after ``scrub``, for people."""
        return self._backend.scrubbed

    def has_tables(self) -> bool:
        """Whether it has any table."""
        from sqlalchemy import inspect

        with self.read() as connection:
            return bool(inspect(connection).get_table_names())

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read transaction: all selects in the block see the same snapshot."""
        with self._errors(), self._reading.begin() as connection:
            yield connection

    @contextmanager
    def write(self, may_pause: bool = False) -> Iterator[Connection]:
        """Open a write transaction: atomic, durable when the block ends, one writer at a time.

        Args:
            may_pause: whether the block may compute, or wait for something else, for long. A server
                ends other writes that are silent for too long, as nobody else can write meanwhile.

        Raises:
            BusyError: other writers held the database for longer than the timeout, or the server
                ended this write.
            StorageError: nothing was written; also if the database was deleted, replaced or moved.
        """
        with (
            self._errors(),
            self._engine.connect() as connection,
            self.begin_write(connection, may_pause),
        ):
            yield connection

    @contextmanager
    def own_connection(self) -> Iterator[Connection]:
        """A connection outside any transaction; its temporary tables end with the block."""
        with self._errors(), self._engine.connect() as connection:
            connection.detach()  # closed at the end, not returned to the pool with its tables
            yield connection

    @contextmanager
    def begin_write(self, connection: Connection, may_pause: bool) -> Iterator[None]:
        """Begin a transaction that holds the write lock from its start; see ``write``."""
        self._backend.require_same()
        connection.execution_options(**{WRITES: True, MAY_PAUSE: may_pause})
        with connection.begin():
            self.require_not_moved(connection)
            yield
        self._backend.require_same()  # replaced meanwhile: the write went into an unlinked file

    def require_not_moved(self, connection: Connection) -> None:
        """Check that the rows were not moved to another database; see ``move``.

        Raises:
            StorageError: they were; a write would be missing there.
        """
        from sqlalchemy import inspect

        from serendip.data.store.move import require_not_moved

        if not self._has_meta:  # a database has the table once it was made
            self._has_meta = inspect(connection).has_table("meta")
        if self._has_meta:
            require_not_moved(connection, self.name)

    @contextmanager
    def exclusive(self, name: str, wait_s: float = 0.0) -> Iterator[Callable[[], None]]:
        """Be the only process of all machines with this database that does something.

        Yields what raises a ``StorageError`` if the lock was lost meanwhile.

        Args:
            name: of what is done.
            wait_s: how long to wait for another process.

        Raises:
            LockedError: another process does it.
        """
        with self._errors(), self._backend.exclusive(name, wait_s) as require_held:
            yield require_held

    def last_number(self, connection: Connection, table: str, column: str) -> int:
        """The largest number that a column that counts by itself has ever given out; 0 = none."""
        return self._backend.last_number(connection, table, column)

    def set_last_number(self, connection: Connection, table: str, column: str, number: int) -> None:
        """Let a column that counts by itself give out only larger numbers from now on."""
        self._backend.set_last_number(connection, table, column, number)

    def integrity(self) -> list[str]:
        """Damage that the database reports; empty = none."""
        from sqlalchemy.exc import OperationalError

        try:
            with self.read() as connection:
                return self._backend.damage(connection)
        except StorageError as error:
            if isinstance(error.__cause__, OperationalError):  # locked, or the disk fails
                raise
            return [error.message]

    def weaknesses(self) -> list[str]:
        """What of its version or its settings may lose data, as sentences; empty = nothing."""
        with self._errors():
            return self._backend.weaknesses()

    def version(self) -> str:
        """Name and version of the database."""
        with self._errors():
            return self._backend.version()

    def scrub(self) -> bool:
        """Remove the bytes of deleted rows; writers wait meanwhile, and it needs its size twice.

        Returns:
            whether all bytes are gone: somebody may still be reading an older state.

        Raises:
            BusyError: other writers held the database for longer than the timeout.
            StorageError: it cannot be written.
        """
        with self._errors():
            return self._backend.scrub()

    def copy_file(self, path: Path) -> bool:
        """Copy the file as of this moment, without the bytes of deleted rows, to a new one.

        Returns:
            False if this is no file; then nothing is done.

        Raises:
            StorageError: the copy cannot be written.
        """
        with self._errors():
            return self._backend.copy_file(path)

    def problem(self) -> str:
        """Why a write would fail now, checked without writing; empty = no known problem."""
        if problem := self._backend.problem():
            return problem
        if self._backend.may_write_again():
            self._engine.dispose()
        try:
            with self.read() as connection:
                self.require_not_moved(connection)
        except StorageError as error:
            return error.message
        return ""

    def keep_open(self) -> None:
        """Stay readable although a file is deleted."""
        with self._errors():
            self._backend.keep_open(self._engine)

    def commit_number(self) -> int | None:
        """A number that is the same as long as nothing is committed; None = not known."""
        return self._watch.number()

    @property
    def is_remote(self) -> bool:
        """Whether ``commit_number`` asks a server."""
        return self._watch.is_remote

    def close(self) -> None:
        """Close all connections."""
        self._watch.close()
        self._engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (SQLAlchemyError, self._backend.failure) as error:
            raise self._backend.translate(error) from error


def _open_backend(place: DatabasePlace, create: bool, busy_timeout_s: float) -> Backend:
    if "://" in str(place):
        from serendip.data.store.backends.postgres_backend import PostgresBackend

        return PostgresBackend(str(place), busy_timeout_s)
    from serendip.data.store.backends.sqlite_backend import SqliteBackend

    return SqliteBackend(Path(place), create, busy_timeout_s)
