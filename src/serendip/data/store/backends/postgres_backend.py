"""PostgreSQL as the database of a store, for several machines.

A write takes an advisory lock when it begins and keeps it until its commit is durable: there is one
writer at a time, as with SQLite, so that sequence numbers appear in their order and a reader that
follows them misses none. A read is a ``REPEATABLE READ`` transaction and waits for nobody. The
server's settings decide what durable means, but ``synchronous_commit = off`` is turned on.

A machine that falls silent, without power or behind a network that is cut, is given up by the other
side after ``SILENCE_S``, and what it held is free. A process that stops inside a write, on a
machine that runs, is given up after ``IDLE_S``.

Several workspaces may share a database: each has a schema of its own, which ``search_path`` names.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from serendip.data.store.backends.backend import MAY_PAUSE, WRITES, wait_until
from serendip.data.store.backends.circuit_breaker import CircuitBreaker
from serendip.errors import (
    BusyError,
    ConfigError,
    DiskFullError,
    ExtraMissing,
    LockedError,
    StorageError,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

LEAST_VERSION = 15
_PACKAGES = ("psycopg",)
_POOL, _MORE = 4, 12

SILENCE_S = 15
"""How long either side of a connection waits for the other one to confirm what it was sent."""

_PROBE_AFTER_S, _PROBE_EVERY_S, _PROBES = 10, 5, 3
"""A connection without traffic is probed after, every, and so many times without a reply."""

IDLE_S = 30
"""How long a write may be silent between two statements, unless the server says another time."""

_OPTIONS: Mapping[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": _PROBE_AFTER_S,
    "keepalives_interval": _PROBE_EVERY_S,
    "keepalives_count": _PROBES,
    "tcp_user_timeout": SILENCE_S * 1000,
    "client_encoding": "utf8",
    "application_name": "serendip",
}
"""Parameters of libpq; those of the URL come before them."""

_WRITE_LOCK, _NAME_LOCK = 0x5345524E, 0x5345524F
"""First halves of the keys of the advisory locks; the second is a hash of schema and name."""

_TAKE_WRITE_LOCK = f"SELECT pg_advisory_xact_lock({_WRITE_LOCK}, hashtext(current_schema()))"
_LIMIT_IDLE = f"""set_config('idle_in_transaction_session_timeout',
    CASE current_setting('idle_in_transaction_session_timeout') WHEN '0' THEN '{IDLE_S}s'
    ELSE current_setting('idle_in_transaction_session_timeout') END, true)"""
_ALLOW_IDLE = "set_config('idle_in_transaction_session_timeout', '0', true)"
_TAKE_NAME_LOCK = (
    f"SELECT pg_try_advisory_lock({_NAME_LOCK}, hashtext(current_schema() || ' ' || %s::text))"
)
_RELEASE_NAME_LOCK = (
    f"SELECT pg_advisory_unlock({_NAME_LOCK}, hashtext(current_schema() || ' ' || %s::text))"
)
_PREPARE = f"""
SELECT current_schema(),
       set_config('lock_timeout', %s, false),
       set_config('tcp_keepalives_idle', '{_PROBE_AFTER_S}', false),
       set_config('tcp_keepalives_interval', '{_PROBE_EVERY_S}', false),
       set_config('tcp_keepalives_count', '{_PROBES}', false),
       set_config('tcp_user_timeout', '{SILENCE_S}s', false),
       set_config('synchronous_commit',
                  CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                  ELSE current_setting('synchronous_commit') END, false)
"""
_LAST_NUMBER = "SELECT pg_sequence_last_value(pg_get_serial_sequence(%s, %s)::regclass)"
_SET_LAST_NUMBER = "SELECT setval(pg_get_serial_sequence(%s, %s), %s::bigint)"

_BUSY_STATES = ("55P03", "40P01", "40001")
_FULL_STATES = ("53100",)
_TOO_MANY_STATES = ("53300",)
_IDLE_STATES = ("25P03",)
_LOST_STATES = ("08", "57P")
_NOT_CONNECTED = ("connection failed", "connection is bad", "connection timeout")
"""How messages of the driver begin before there is a connection, without a state."""

_ERASABLE = (
    "events",
    "pack_rows",
    "pack_names",
    "items",
    "users",
    "generated_texts",
    "generated_values",
)
"""The tables that an erasure removes rows of."""

_OLDEST_READER = """
SELECT min(pg_snapshot_xmax(pg_current_snapshot())::text::bigint - age(backend_xmin))
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL
"""
READERS_S = 10.0
"""How long a scrub waits for readers of an older state."""


class PostgresBackend:
    """One PostgreSQL database, or one schema of it.

    Args:
        url: ``postgresql+psycopg://...``; it is never shown.
        busy_s: how long a write waits for other writers.

    Raises:
        ConfigError: the URL cannot be read.
        ExtraMissing: a package is not installed.
    """

    dialect: Final = "postgresql"
    scrubbed = "rows and free pages; the server's own log and backups have them until they go"
    read_options: Mapping[str, Any] = MappingProxyType({"isolation_level": "REPEATABLE READ"})

    def __init__(self, url: str, busy_s: float) -> None:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        _require_packages()
        import psycopg

        try:
            self._url = make_url(url)
        except (ArgumentError, ValueError):  # a port that is no number
            raise ConfigError(
                "[store] url cannot be read.", "See `[store]` in the guide."
            ) from None
        self.name = self._url.database or "postgresql"
        self.failure: type[Exception] = psycopg.Error
        self._lost: type[Exception] = psycopg.OperationalError
        self._lock_timeout = f"{max(1, round(busy_s * 1000))}ms"
        self._breaker = CircuitBreaker(
            lambda: psycopg.OperationalError(
                "connection timeout: the server was silent a moment ago"
            )
        )
        self._engine = self._build_engine()

    def create_engine(self) -> Engine:
        """The pool of connections."""
        return self._engine

    def _build_engine(self) -> Engine:
        from sqlalchemy import create_engine, event

        engine = create_engine(
            self._url,
            creator=self._open_connection,
            isolation_level="READ COMMITTED",
            pool_size=_POOL,
            max_overflow=_MORE,
            pool_pre_ping=True,
            hide_parameters=True,
        )
        event.listen(engine, "connect", self._prepare)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            options = connection.get_execution_options()
            if options.get(WRITES, False):
                idle = _ALLOW_IDLE if options.get(MAY_PAUSE, False) else _LIMIT_IDLE
                connection.exec_driver_sql(f"{_TAKE_WRITE_LOCK}, {idle}")

        return engine

    def _prepare(self, connection: Any, record: Any) -> None:
        """Set up a new connection of the driver, or refuse it."""
        connection.autocommit = True
        schema, *_ = connection.execute(_PREPARE, (self._lock_timeout,)).fetchone()
        connection.autocommit = False
        version = connection.info.server_version // 10_000
        encoding = connection.info.parameter_status("server_encoding")
        if version < LEAST_VERSION:
            problem = f"is served by PostgreSQL {version}; {LEAST_VERSION} is the oldest that works"
        elif encoding != "UTF8":
            problem = f"has the encoding {encoding}; create one with ENCODING 'UTF8'"
        elif schema is None:
            problem = "lacks the schema that search_path names; create it"
        else:
            return
        connection.close()
        raise StorageError(f"database {self.name} {problem}.")

    def require_same(self) -> None:
        """Nothing: the server knows which database it is."""

    def keep_open(self, engine: Engine) -> None:
        """Nothing: a database in use cannot be deleted."""

    def last_number(self, connection: Connection, table: str, column: str) -> int:
        """The largest number that a sequence has ever given out."""
        return int(connection.exec_driver_sql(_LAST_NUMBER, (table, column)).scalar() or 0)

    def set_last_number(self, connection: Connection, table: str, column: str, number: int) -> None:
        """Let a sequence give out only larger numbers from now on."""
        connection.exec_driver_sql(_SET_LAST_NUMBER, (table, column, number))

    def translate(self, error: Exception) -> StorageError:
        """The error of this code for one of the driver; its message names no server."""
        cause = getattr(error, "orig", None) or error
        state = str(getattr(cause, "sqlstate", None) or "")
        reason = (str(cause).splitlines() or [type(cause).__name__])[0].rstrip(".")
        if state in _BUSY_STATES:
            return BusyError(
                f"database {self.name} is locked by another writer.",
                "Nothing was written. Try again when the other command has ended.",
            )
        if state in _TOO_MANY_STATES:
            return BusyError(
                f"database {self.name}: its server has no connection left.",
                "Nothing was written. Raise max_connections, or use fewer workers.",
            )
        if state in _IDLE_STATES:
            return BusyError(
                f"database {self.name}: its server ended a write that was silent for too long.",
                "Nothing was written. Send it again.",
            )
        if state in _FULL_STATES:
            hint = "Nothing was written. Free some space on the server."
            return DiskFullError(f"database {self.name}: {reason}.", hint)
        if reason.startswith(_NOT_CONNECTED):
            return StorageError(
                f"database {self.name}: its server cannot be reached, or refuses the login.",
                f"{reason}. Nothing was written. Check the URL, the password and the server.",
            )
        if isinstance(cause, self._lost) and (not state or state.startswith(_LOST_STATES)):
            return StorageError(
                f"database {self.name}: its server does not answer.",
                f"{reason}. Whether a write under way was stored is not known: send it again; "
                "events with an event_id are stored once.",
            )
        return StorageError(
            f"database {self.name}: {reason}.",
            "Nothing was written. Check the server and the rights of its user.",
        )

    def problem(self) -> str:
        """Why a write would fail now, checked without writing; empty = no known problem."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.connect() as connection:
                statement = "SELECT current_setting('transaction_read_only')"
                is_read_only = connection.exec_driver_sql(statement).scalar_one() == "on"
        except (SQLAlchemyError, self.failure) as error:
            return self.translate(error).message
        except StorageError as error:
            return error.message
        if is_read_only:
            return f"database {self.name} cannot be written to: its server is read-only."
        return ""

    def may_write_again(self) -> bool:
        """False: no connection is for reading alone."""
        return False

    def damage(self, connection: Connection) -> list[str]:
        """Nothing: a server checks its own files (``pg_amcheck``, data checksums)."""
        return []

    def weaknesses(self) -> list[str]:
        """Settings of the server with which a crash of it loses what was acknowledged."""
        dangers = {
            "fsync": "a crash of the machine can damage the database",
            "full_page_writes": "a crash of the machine can damage the database",
        }
        with self._engine.connect() as connection:
            found = [
                name
                for name in dangers
                if connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "off"
            ]
        return [f"the server has {name} = off: {dangers[name]}" for name in found]

    def version(self) -> str:
        """Name and version."""
        with self._engine.connect() as connection:
            version = connection.exec_driver_sql("SHOW server_version").scalar_one()
        return f"PostgreSQL {str(version).split()[0]}"

    def scrub(self) -> bool:
        """Write the tables that an erasure touches again (``VACUUM FULL``).

        Bytes stay in the server's write-ahead log until it recycles it, and in its backups.

        Returns:
            whether the bytes are gone from the tables; readers of an older state keep them.
        """
        import psycopg

        with closing(self._connect()) as connection:
            statement = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
            horizon = connection.execute(statement).fetchone()[0]
            end = time.monotonic() + READERS_S
            while _is_older(connection.execute(_OLDEST_READER).fetchone()[0], horizon):
                if time.monotonic() > end:
                    return False
                time.sleep(0.1)
            try:
                for table in _ERASABLE:
                    connection.execute(f"VACUUM (FULL) {table}")
            except psycopg.errors.LockNotAvailable:
                return False
        return True

    def copy_file(self, path: Path) -> bool:
        """False: there is no file."""
        return False

    def watch(self) -> SnapshotWatch:
        """A watch of the commits on the server."""
        return SnapshotWatch(self._connect, self.failure)

    @contextmanager
    def exclusive(self, name: str, wait_s: float) -> Iterator[Callable[[], None]]:
        """Hold an advisory lock, which the server takes back when this process ends."""
        with closing(self._connect()) as connection:

            def lock() -> bool:
                return bool(connection.execute(_TAKE_NAME_LOCK, (name,)).fetchone()[0])

            if not wait_until(lock, wait_s):
                raise LockedError(
                    f"another process holds the lock `{name}` of database {self.name}.",
                    "Wait until that process has ended, then try again.",
                )

            def require_held() -> None:
                try:
                    connection.execute("SELECT 1")  # the lock lives as long as its connection
                except self.failure as error:
                    raise StorageError(
                        f"the lock `{name}` of database {self.name} was lost: its connection "
                        "ended.",
                        "Nothing of what it guards was written. Check the server and the network, "
                        "then run the command again.",
                    ) from error

            try:
                yield require_held
            finally:  # the server may see the end of a connection only after the next one began
                with suppress(self.failure):
                    connection.execute(_RELEASE_NAME_LOCK, (name,))

    def _connect(self) -> Any:
        """A connection of the driver in autocommit mode, which the caller closes."""
        connection = self._open_connection()
        self._prepare(connection, None)
        connection.autocommit = True
        return connection

    def _open_connection(self) -> Any:
        """A connection of the driver as the URL says, which nothing has set up yet."""
        import psycopg

        arguments, options = self._engine.dialect.create_connect_args(self._url)
        connect: Any = psycopg.connect
        return self._breaker.call(lambda: connect(*arguments, **{**_OPTIONS, **options}))


class SnapshotWatch:
    """Watches the commits of all processes on a server by its snapshots; thread-safe.

    Two equal snapshots see the same rows. Other databases of the server change them, too: then the
    reader reads once for nothing.

    Args:
        connect: opens a connection of the driver in autocommit mode.
        failure: base class of the errors of the driver.
    """

    is_remote = True

    def __init__(self, connect: Callable[[], Any], failure: type[Exception]) -> None:
        self._connect, self._failure = connect, failure
        self._connection: Any = None
        self._lock = threading.Lock()
        self._snapshot, self._number = "", 0
        self._has_failed = False

    def number(self) -> int | None:
        """A number that is the same as long as nothing is committed; None = not known.

        A commit that has returned is seen by the next call, whichever process made it. While one
        thread finds out whether the server is back, the others do not wait for it.
        """
        if not self._lock.acquire(blocking=not self._has_failed):
            return None
        try:
            if self._connection is None:
                self._connection = self._connect()
            statement = "SELECT pg_current_snapshot()::text"
            snapshot = self._connection.execute(statement).fetchone()[0]
            self._has_failed = False
            if snapshot != self._snapshot:
                self._snapshot = snapshot
                self._number += 1
            return self._number
        except (StorageError, self._failure):
            self._has_failed = True
            self._close()
            return None
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(self._failure):
                connection.close()


def _is_older(oldest: int | None, horizon: int) -> bool:
    """Whether a reader may see the state before a moment."""
    return oldest is not None and oldest < horizon


def _require_packages() -> None:
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ExtraMissing(
            f"a database on PostgreSQL needs {', '.join(missing)}.",
            'Run `pip install "serendip[postgres]"`.',
        )
