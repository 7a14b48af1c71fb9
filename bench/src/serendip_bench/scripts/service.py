"""The service of a workspace in a process of its own, for benchmarks that ask it over HTTP.

Usage: python -m serendip_bench.scripts.service WORKSPACE [SECONDS]

Prints its address once it listens and once it is ready. With ``SECONDS``, a time in Unix seconds,
its clock stands still there: events that are posted are in the history of their user at once, but
popularity and trends stay as they were when the workspace was opened. So an answer depends neither
on the users who were asked before nor on how fast they were asked.
"""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from serendip.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: its address and process, and seconds until it was live and ready."""

    netloc: str
    pid: int
    live_s: float
    ready_s: float


@contextmanager
def run_service(workspace: Path, still_at: float | None = None) -> Iterator[Service]:
    """Run the service of a workspace as a context.

    Args:
        workspace: its folder.
        still_at: Unix seconds at which its clock stands still; None = the clock goes on.

    Raises:
        SystemExit: the service did not start.
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", __name__, str(workspace)]
    command += [] if still_at is None else [str(still_at)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().split()
        if not address:
            raise SystemExit("The service did not start; see its error above.")
        netloc = urlsplit(address[1]).netloc
        with closing(http.client.HTTPConnection(netloc)) as connection:
            fetch(connection, "/health/live")
        live_s = time.perf_counter() - start
        if not process.stdout.readline():
            raise SystemExit("The service did not become ready; see its error above.")
        yield Service(netloc, process.pid, live_s, time.perf_counter() - start)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        process.stdout.close()


def fetch(connection: http.client.HTTPConnection, path: str) -> bytes:
    """The body of a successful response.

    Raises:
        SystemExit: the response is an error.
    """
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise SystemExit(f"{path} responded with {response.status}: {body[:300]!r}.")
    return body


def _serve(workspace: Path, still_at: float | None) -> None:
    from serendip.runtime.threads import limit_threads

    limit_threads(1)
    from serendip.serve.engine_holder import PublishedGenerations
    from serendip.serve.server import run
    from serendip.serve.server_options import ServerOptions

    def report(event: str) -> Callable[[str], None]:
        return lambda address: print(event, address, flush=True)

    published = PublishedGenerations(lambda: _open_engine(workspace, still_at))
    run(
        published, ServerOptions(port=0), on_listening=report("listening"), on_ready=report("ready")
    )


def _open_engine(workspace: Path, still_at: float | None) -> Engine:
    from serendip.engine.engine import Engine

    class StillEngine(Engine):
        """Follows nothing: the only writer of its workspace, asked as if it had just opened it."""

        def catch_up(self) -> None:
            """Count nothing: the events of other users were posted only to be asked about."""

        def follow_items(self) -> None:
            """Nobody else writes any."""

    if still_at is None:
        return Engine.open(workspace)
    return StillEngine.open(workspace, lambda: still_at)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else None)
