"""The service of a workspace in a process of its own, and a client that asks it.

Usage: python -m serendip_bench.service WORKSPACE SECONDS

Runs a service whose clock stands still at a time in Unix seconds: events that are posted are in the
history of their user at once, but popularity and trends stay as they were when the workspace was
opened. So an answer depends neither on the users who were asked before nor on how fast they were
asked.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from typer import echo

from serendip.errors import StorageError

if TYPE_CHECKING:
    from serendip.engine.engine import Engine

_TICKS = os.sysconf("SC_CLK_TCK")
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """A running service.

    Args:
        netloc: its address.
        pid: of the process that was started.
        answering: processes that answer.
        ready_s: seconds until it was ready.
    """

    netloc: str
    pid: int
    answering: tuple[int, ...]
    ready_s: float

    def cpu_s(self) -> float:
        """CPU seconds of all processes so far."""
        fields = [
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            for pid in {self.pid, *self.answering}
        ]
        return sum(int(field[11]) + int(field[12]) for field in fields) / _TICKS

    def memory_mb(self, kind: str = "VmRSS") -> float:
        """Resident memory of one process that answers, now or (``VmHWM``) at most so far."""
        return read_memory_mb(self.answering[0], kind)


def read_memory_mb(pid: int, kind: str = "VmRSS") -> float:
    """Memory of a process, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1]) / 1024


@contextmanager
def run_service(
    workspace: Path, workers: int = 1, still_at: float | None = None
) -> Iterator[Service]:
    """Run ``serendip serve`` as a context.

    Args:
        workspace: its folder.
        workers: processes that answer.
        still_at: Unix seconds at which its clock stands still, with one worker; None = the clock
            goes on.

    Raises:
        StorageError: the service did not start.
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", "serendip", "serve", "--workspace", str(workspace)]
    command += ["--port", "0", "--workers", str(workers)]
    if still_at is not None:
        command = [sys.executable, "-m", __name__, str(workspace), str(still_at)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = next((line for line in process.stdout if line.startswith("Ready:")), "")
        if not line:
            raise StorageError("the service did not become ready.", "See its error above.")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        answering = tuple(map(int, children)) if workers > 1 else (process.pid,)
        netloc, ready_s = urlsplit(line.split()[1]).netloc, time.perf_counter() - start
        yield Service(netloc, process.pid, answering, ready_s)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        process.stdout.close()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP.

    Args:
        status: 0 = the connection was closed without one.
        headers: with names in lower case.
        body: bytes.
        seconds: until it was there.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class HttpClient:
    """A persistent connection, opened again when it was closed; for one thread."""

    def __init__(self, netloc: str) -> None:
        self._connection = http.client.HTTPConnection(netloc, timeout=_TIMEOUT_S)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send a request and read its answer."""
        begin = time.perf_counter()
        try:
            sent = {"content-type": "application/json"} if headers is None else headers
            self._connection.request(method, path, body, sent)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return Reply(0, {}, b"", time.perf_counter() - begin)
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, found, content, time.perf_counter() - begin)

    def post(self, path: str, value: object) -> Reply:
        """Send a JSON body."""
        return self.ask("POST", path, json.dumps(value).encode())

    def fetch(self, path: str) -> Reply:
        """A successful answer.

        Raises:
            StorageError: it is another one.
        """
        return require_success(path, self.ask("GET", path))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def require_success(path: str, reply: Reply) -> Reply:
    """The answer, if it is one of success.

    Raises:
        StorageError: it is another one.
    """
    if not 200 <= reply.status < 300:
        message = f"{path}: status {reply.status}, {reply.body[:300]!r}."
        raise StorageError(message, "See the messages of the service.")
    return reply


def _serve(workspace: Path, still_at: float) -> None:
    from serendip.runtime.threads import limit_threads

    limit_threads(1)
    from serendip.serve.engine_holder import PublishedGenerations
    from serendip.serve.server import serve
    from serendip.serve.server_options import ServerOptions

    published = PublishedGenerations(lambda: _open_engine(workspace, still_at))
    options = ServerOptions(port=0)
    with closing(options.listen()) as listener:
        address = options.format_address(listener)
        serve(published, options, listener, on_ready=lambda: echo(f"Ready: {address}"))


def _open_engine(workspace: Path, still_at: float) -> Engine:
    from serendip.engine.engine import Engine

    class StillEngine(Engine):
        """Follows nothing: the only writer of its workspace, asked as if it had just opened it."""

        def catch_up(self) -> None:
            """Count nothing: the events of other users were posted only to be asked about."""

        def read_items(self) -> None:
            """Nobody else writes any."""

    return StillEngine.open(workspace, lambda: still_at)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), float(sys.argv[2]))
