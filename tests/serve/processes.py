"""Services in processes of their own, and which of them answers a connection."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

TINY_SERVER = Path(__file__).with_name("tiny_server.py")


class TinyService:
    """``tiny_server.py`` in a process of its own; ``with`` kills it."""

    def __init__(
        self,
        *options: str,
        load_s: float = 0.0,
        log: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        command = [*prefix, sys.executable, str(TINY_SERVER), str(load_s), *options]
        with (log or Path(os.devnull)).open("wb") as messages:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=messages, text=True
            )
        self.port = urlsplit(self.read_line("listening")).port or 0

    def read_line(self, word: str) -> str:
        line = self.process.stdout.readline().split()
        assert line[:1] == [word]
        return line[1]

    def ask(self, path: str, headers: Mapping[str, str] = {}) -> tuple[HTTPResponse, bytes]:
        """A request over a connection of its own."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=120)) as connection:
            connection.request("GET", path, headers=dict(headers))
            response = connection.getresponse()
            return response, response.read()

    def status(self, path: str) -> int:
        return self.ask(path)[0].status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Client:
    def __init__(self, connection: HTTPConnection) -> None:
        self.connection = connection
        self.close = connection.close

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and answer."""
        data = None if body is None else json.dumps(body)
        self.connection.request(method, path, data, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def write(self, method: str, path: str, body: object = None) -> Any:
        status, answer = self.ask(method, path, body)
        assert status == 200, answer
        return answer

    def read(self, path: str) -> Any:
        return self.write("GET", path)

    def status(self, path: str) -> int:
        return self.ask("GET", path)[0]

    def ids(self, path: str) -> list[str]:
        return [item["item_id"] for item in self.read(path)["items"]]


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[Client, subprocess.Popen[str]]]:
    """``serendip serve`` on a free port, once it is ready, told to end at the end."""
    command = [sys.executable, "-m", "serendip", "serve", "-w", os.fspath(folder), "--port", "0"]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        client = Client(HTTPConnection("127.0.0.1", read_ready_port(process), timeout=30))
        try:
            yield client, process
        finally:
            client.close()
            process.send_signal(signal.SIGTERM)


def read_ready_port(process: subprocess.Popen[str]) -> int:
    """The port of ``serendip serve``, once it says that it is ready."""
    for line in process.stdout:
        if line.startswith("Ready:"):
            return urlsplit(line.split()[1]).port or 0
    raise AssertionError("the service ended before it was ready")


def children(pid: int) -> list[int]:
    names = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(name) for name in names]


def is_running(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for yet has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@contextmanager
def connection_each(supervisor: int, port: int) -> Iterator[dict[int, HTTPConnection]]:
    """One open connection to each worker of a service, by process; closed at the end."""
    found: dict[int, HTTPConnection] = {}
    try:
        _connect_each(found, children(supervisor), port)
        yield found
    finally:
        for connection in found.values():
            connection.close()


def _connect_each(found: dict[int, HTTPConnection], workers: list[int], port: int) -> None:
    """Open connections until each worker has one: the kernel decides which one gets which."""
    for _ in range(2_000):
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/health/live")
        connection.getresponse().read()
        worker = find_worker(workers, connection)
        if worker in found:
            connection.close()
        else:
            found[worker] = connection
        if len(found) == len(workers):
            return
    raise AssertionError(f"only {sorted(found)} of {workers} accept connections")


def is_free(port: int) -> bool:
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        try:
            connection.connect()
        except ConnectionRefusedError:
            return True
        return False


def find_worker(workers: Iterable[int], connection: HTTPConnection) -> int:
    name = _server_socket(connection)
    return next(pid for pid in workers if _holds(pid, name))


def _server_socket(connection: HTTPConnection) -> str:
    """Name of the server's socket of a connection, as in the folder of open files."""
    ours, theirs = connection.sock.getsockname()[1], connection.sock.getpeername()[1]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = [int(address.split(":")[1], 16) for address in fields[1:3]]
        if ports == [theirs, ours]:
            return f"socket:[{fields[9]}]"
    raise AssertionError(f"no server holds the connection from port {ours}")


def _holds(pid: int, name: str) -> bool:
    folder = Path(f"/proc/{pid}/fd")
    for path in folder.iterdir():
        try:
            if os.readlink(path) == name:
                return True
        except FileNotFoundError:  # closed in between
            continue
    return False


def wait_until(
    is_so: Callable[[], object], what: str, seconds: float = 600.0, every_s: float = 0.1
) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(every_s)
