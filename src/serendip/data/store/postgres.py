"""PostgreSQL as the database of a store, for several machines.

A write takes an advisory lock when it begins and keeps it until its commit is durable: there is one
writer at a time, as with SQLite, so that sequence numbers appear in their order and a reader that
follows them misses none. A read is a ``REPEATABLE READ`` transaction and waits for nobody. The
server's settings decide what durable means, but ``synchronous_commit = off`` is turned on.

A machine that falls silent, without power or behind a network that is cut, is given up by the other
side after ``SILENCE_S``, and what it held is free. A process that stops inside a write, on a
machine that runs, is given up after ``IDLE_S``. Several workspaces may share a database: each has a
schema of its own, which ``search_path`` names.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from serendip.data.store.base import MAY_PAUSE, WRITES, Database
from serendip.errors import (
    BusyError,
    ConfigError,
    DiskFullError,
    LostConnectionError,
    StorageError,
)
from serendip.runtime.extras import of_extra

LEAST_VERSION = 15
_POOL, _MORE = 4, 12

# How long either side of a connection waits for the other one to confirm what it was sent.
SILENCE_S = 15
# A connection without traffic is probed after, every, and so many times without a reply.
_PROBE_AFTER_S, _PROBE_EVERY_S, _PROBES = 10, 5, 3
# An attempt to connect that fails after more seconds than the first has met a silent server, which
# keeps waiting who connects; for the second all others then fail at once, until a next one ends.
SILENT_S, REST_S = 1.0, 2.0
IDLE_S = 30  # how long a write may be silent between two statements, by default
_OPTIONS: Mapping[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": _PROBE_AFTER_S,
    "keepalives_interval": _PROBE_EVERY_S,
    "keepalives_count": _PROBES,
    "tcp_user_timeout": SILENCE_S * 1000,
    "client_encoding": "utf8",
    "application_name": "serendip",
}  # those of the URL come before them
_WRITE_LOCK, _NAME_LOCK = 0x5345524E, 0x5345524F  # the second halves are hashes of names
_TAKE_WRITE_LOCK = f"SELECT pg_advisory_xact_lock({_WRITE_LOCK}, hashtext(current_schema()))"
_LIMIT_IDLE = f"""set_config('idle_in_transaction_session_timeout',
    CASE current_setting('idle_in_transaction_session_timeout') WHEN '0' THEN '{IDLE_S}s'
    ELSE current_setting('idle_in_transaction_session_timeout') END, true)"""
_ALLOW_IDLE = "set_config('idle_in_transaction_session_timeout', '0', true)"
_NAME = f"({_NAME_LOCK}, hashtext(current_schema() || ' ' || %s::text))"
_TAKE_NAME_LOCK = f"SELECT pg_try_advisory_lock{_NAME}"
_RELEASE_NAME_LOCK = f"SELECT pg_advisory_unlock{_NAME}"
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
_FULL_STATE = "53100"
_BUSY_STATES: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("55P03", "40P01", "40001"),
        (" is locked by another writer", "Try again when the other command has ended."),
    ),
    "53300": (
        ": its server has no connection left",
        "Raise max_connections, or use fewer workers.",
    ),
    "25P03": (": its server ended a write that was silent for too long", "Send it again."),
}  # what it means, and what to do
_LOST_STATES = ("08", "57P")
# There is no state yet.
_NOT_CONNECTED = ("connection failed", "connection is bad", "connection timeout")
_ERASABLE = ("events", "pack_rows", "pack_names", "items", "users", "generated_rows")
_OLDEST_READER = """
SELECT min(pg_snapshot_xmax(pg_current_snapshot())::text::bigint - age(backend_xmin))
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL
"""
READERS_S = 10.0  # how long a scrub waits for readers of an older state


class PostgresDatabase(Database):
    """One PostgreSQL database, or one schema of it, by a URL that is never shown."""

    dialect = "postgresql"
    is_remote = True
    scrubbed = "rows and free pages; the server's own log and backups have them until they go"
    _read_options = MappingProxyType({"isolation_level": "REPEATABLE READ"})
    _begin_read = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
    # Two equal snapshots see the same rows. Other databases of the server change them, too: then
    # the reader reads once for nothing.
    _read_commits = "SELECT pg_current_snapshot()::text"
    _last_number = (
        "SELECT pg_sequence_last_value(pg_get_serial_sequence(:table, :column)::regclass)"
    )
    _set_last_number = ("SELECT setval(pg_get_serial_sequence(:table, :column), :number)",)

    def __init__(self, url: str, busy_timeout_s: float) -> None:
        with of_extra("postgres", "the driver of PostgreSQL"):
            import psycopg
        try:
            self._url = make_url(url)
        except (ArgumentError, ValueError):  # a port that is no number
            hint = "See `[store]` in the guide."
            raise ConfigError("[store] url cannot be read.", hint) from None
        self._lost: type[Exception] = psycopg.OperationalError
        self._lock_timeout = f"{max(1, round(busy_timeout_s * 1000))}ms"
        self._retry_at, self._retry_lock = 0.0, threading.Lock()
        super().__init__(self._url.database or "postgresql", psycopg.Error, busy_timeout_s)

    def _create_engine(self) -> Engine:
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
        connection.autocommit = True
        schema, *_ = connection.execute(_PREPARE, (self._lock_timeout,)).fetchone()
        connection.autocommit = False
        version = connection.info.server_version // 10_000
        encoding = connection.info.parameter_status("server_encoding")
        problem = ""
        if version < LEAST_VERSION:
            problem = f"is served by PostgreSQL {version}; {LEAST_VERSION} is the oldest that works"
        elif encoding != "UTF8":
            problem = f"has the encoding {encoding}; create one with ENCODING 'UTF8'"
        elif schema is None:
            problem = "lacks the schema that search_path names; create it"
        if problem:
            connection.close()
            raise StorageError(f"database {self.name} {problem}.")

    def _translate(self, error: Exception) -> StorageError:
        cause = getattr(error, "orig", None) or error
        state = str(getattr(cause, "sqlstate", None) or "")
        reason = (str(cause).splitlines() or [type(cause).__name__])[0].rstrip(".")
        if state in _BUSY_STATES:
            problem, step = _BUSY_STATES[state]
            return BusyError(f"database {self.name}{problem}.", f"Nothing was written. {step}")
        if state == _FULL_STATE:
            hint = "Nothing was written. Free some space on the server."
            return DiskFullError(f"database {self.name}: {reason}.", hint)
        if reason.startswith(_NOT_CONNECTED):
            return StorageError(
                f"database {self.name}: its server cannot be reached, or refuses the login.",
                f"{reason}. Nothing was written. Check the URL, the password and the server.",
            )
        if isinstance(cause, self._lost) and (not state or state.startswith(_LOST_STATES)):
            return LostConnectionError(
                f"database {self.name}: its server does not answer.",
                f"{reason}. What was being written may be stored: send it again; events with an "
                "event_id are stored once.",
            )
        return StorageError(
            f"database {self.name}: {reason}.",
            "Nothing was written. Check the server and the rights of its user.",
        )

    def _find_problem(self) -> str:
        if self._show("transaction_read_only") == "off":
            return ""
        return f"database {self.name} cannot be written to: its server is read-only."

    def _show(self, name: str) -> str:
        with self._errors(), self._engine.connect() as connection:
            return str(connection.exec_driver_sql(f"SHOW {name}").scalar_one())

    def weaknesses(self) -> list[str]:
        """Settings of the server with which a crash of it loses what was acknowledged."""
        found = [name for name in ("fsync", "full_page_writes") if self._show(name) == "off"]
        danger = "a crash of the machine can damage the database"
        return [f"the server has {name} = off: {danger}" for name in found]

    def version(self) -> str:
        """Name and version."""
        return f"PostgreSQL {self._show('server_version').split()[0]}"

    def scrub(self) -> bool:
        """Write the tables that an erasure touches again (``VACUUM FULL``).

        Bytes stay in the server's write-ahead log until it recycles it, and in its backups.
        """
        import psycopg

        with self._errors(), closing(self._connect()) as connection:
            statement = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
            horizon = connection.execute(statement).fetchone()[0]
            end = time.monotonic() + READERS_S
            while (oldest := connection.execute(_OLDEST_READER).fetchone()[0]) and oldest < horizon:
                if time.monotonic() > end:
                    return False
                time.sleep(0.1)
            try:
                for table in _ERASABLE:
                    connection.execute(f"VACUUM (FULL) {table}")
            except psycopg.errors.LockNotAvailable:
                return False
        return True

    @contextmanager
    def _named_lock(self, name: str) -> Iterator[tuple[Callable[[], bool], Callable[[], None]]]:
        with closing(self._connect()) as connection:

            def take() -> bool:
                return bool(connection.execute(_TAKE_NAME_LOCK, (name,)).fetchone()[0])

            def require_held() -> None:
                try:
                    connection.execute("SELECT 1")  # the lock lives as long as its connection
                except self._failure as error:
                    raise StorageError(
                        f"the lock `{name}` of database {self.name} was lost: its connection "
                        "ended.",
                        "Nothing of what it guards was written. Check the server and the network, "
                        "then run the command again.",
                    ) from error

            try:
                yield take, require_held
            finally:  # the server may see the end of a connection only after the next one began
                with suppress(self._failure):
                    connection.execute(_RELEASE_NAME_LOCK, (name,))

    def _connect(self) -> Any:
        connection = self._open_connection()
        self._prepare(connection, None)
        connection.autocommit = True
        return connection

    def _open_connection(self) -> Any:
        import psycopg

        with self._retry_lock:
            if self._retry_at:
                if time.monotonic() < self._retry_at:
                    problem = "connection timeout: the server was silent a moment ago"
                    raise psycopg.OperationalError(problem)
                self._retry_at = math.inf
        arguments, options = self._engine.dialect.create_connect_args(self._url)
        connect: Any = psycopg.connect
        begin, retry_at = time.monotonic(), 0.0
        try:
            return connect(*arguments, **{**_OPTIONS, **options})
        except BaseException:
            end = time.monotonic()
            retry_at = end + REST_S if end - begin > SILENT_S else 0.0
            raise
        finally:
            self._retry_at = retry_at
