import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from postgres_server import PostgresServer

from serendip.data.events.event import Event
from serendip.data.store.base import Database
from serendip.data.store.database import open_database
from serendip.data.store.store import Store
from serendip.errors import StorageError

_IDLE = "idle_in_transaction_session_timeout"

WRITER = """
import sys
from contextlib import closing
from pathlib import Path
from serendip.data.events.event import Event
from serendip.data.store.store import Store
from serendip.errors import SerendipError

def groups():
    yield [Event("u", "first", 1.0)]
    print("inside", flush=True)
    sys.stdin.readline()
    yield [Event("u", "second", 2.0)]

with closing(Store.open(sys.argv[1])) as store:
    try:
        store.put_event_groups(groups())
    except SerendipError as error:
        print(error.kind, error.message, error.hint)
    else:
        print("acknowledged")
"""
"""Program that writes two groups of events in one transaction, and waits between them."""


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.empty_url()


def show(database: Database, *names: str) -> list[str]:
    with database.read() as connection:
        return [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names]


@contextmanager
def connections_to(port: int) -> Iterator[list[socket.socket]]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            copy = socket.socket(fileno=os.dup(int(name)))
            found.append(copy)
    try:
        here = [one for one in found if _peer_port(one) == port]
        yield list({one.getsockname(): one for one in here}.values())  # without copies
    finally:
        for one in found:
            one.close()


def _peer_port(connection: socket.socket) -> int:
    with suppress(OSError):
        if connection.family == socket.AF_INET:
            return int(connection.getpeername()[1])
    return 0


def test_both_sides_of_every_connection_give_a_silent_machine_up(
    postgres_server: PostgresServer, url: str, tmp_path: Path
) -> None:
    place = postgres_server.url_over_network(url)
    with (
        closing(Store.open(place)) as store,
        store.database.exclusive("training"),
        connections_to(postgres_server.port) as before,
    ):
        assert store.database.commit_number() is not None
        assert len(before) == 2  # of the pool, and of the lock
        with connections_to(postgres_server.port) as connections:
            assert len(connections) == 3
            for one in connections:
                assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                options = ("KEEPIDLE", "KEEPINTVL", "KEEPCNT", "USER_TIMEOUT")
                numbers = [getattr(socket, f"TCP_{name}") for name in options]
                values = [one.getsockopt(socket.IPPROTO_TCP, number) for number in numbers]
                assert values == [10, 5, 3, 15_000]
        names = [f"tcp_keepalives_{name}" for name in ("idle", "interval", "count")]
        values = show(store.database, *names, "tcp_user_timeout")
        assert values == ["10", "5", "3", "15000"]


def test_a_write_that_may_not_pause_is_limited_and_nothing_else_is(
    postgres_server: PostgresServer, url: str
) -> None:
    with closing(open_database(url)) as database:
        with database.exclusive("training"):  # for hours: outside any transaction
            states = "SELECT state FROM pg_stat_activity JOIN pg_locks USING (pid)"
            where = "WHERE locktype = 'advisory'"
            assert postgres_server.execute(f"{states} {where}") == [("idle",)]
        for may_pause, limit in ((False, "30s"), (True, "0"), (False, "30s")):
            with database.write(may_pause) as connection:
                assert connection.exec_driver_sql(f"SHOW {_IDLE}").scalar_one() == limit
            assert show(database, _IDLE) == ["0"]
    with (
        closing(open_database(f"{url}%20-c{_IDLE}%3D5s")) as database,
        database.write() as connection,
    ):
        assert connection.exec_driver_sql(f"SHOW {_IDLE}").scalar_one() == "5s"


def test_a_process_that_stops_inside_a_write_loses_its_lock_and_acknowledges_nothing(
    url: str, tmp_path: Path
) -> None:
    place = f"{url}%20-c{_IDLE}%3D3s"
    with (
        closing(Store.open(url)) as store,
        subprocess.Popen(
            [sys.executable, "-c", WRITER, place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as writer,
    ):
        assert writer.stdout.readline() == "inside\n"
        writer.send_signal(signal.SIGSTOP)
        try:
            assert store.put_events([Event("u", "other", 3.0)]) == 1
        finally:
            writer.send_signal(signal.SIGCONT)
        answer, _ = writer.communicate("go on\n", timeout=60)
        assert answer.startswith("busy database postgres: its server ended a write")
        assert "Nothing was written. Send it again." in answer
        assert [event.item_id for event in store.log.history("u", 9)] == ["other"]


@pytest.fixture
def silent_server(tmp_path: Path) -> Iterator[socket.socket]:
    """A port that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        listener.setblocking(False)
        yield listener


def count_arrivals(listener: socket.socket) -> int:
    count = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def test_of_a_silent_server_only_the_first_of_many_waits(silent_server: socket.socket) -> None:
    port = silent_server.getsockname()[1]
    place = f"postgresql+psycopg://me@127.0.0.1:{port}/shop?connect_timeout=2"
    with closing(open_database(place)) as database:
        for _ in range(20):
            with (
                pytest.raises(StorageError, match="its server cannot be reached"),
                database.read(),
            ):
                raise AssertionError
            assert database.commit_number() is None
        assert 1 <= count_arrivals(silent_server) <= 3  # without the rest, 40
