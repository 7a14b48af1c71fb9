"""The service of a workspace in a process of its own, for benchmarks that ask it over HTTP.

Usage: python -m serendip_bench.scripts.service WORKSPACE SECONDS

Runs a service whose clock stands still at a time in Unix seconds: events that are posted are in the
history of their user at once, but popularity and trends stay as they were when the workspace was
opened. So an answer depends neither on the users who were asked before nor on how fast they were
asked.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from serendip.engine.engine import Engine

_TICKS = os.sysconf("SC_CLK_TCK")


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
        return sum(map(read_cpu_s, {self.pid, *self.answering}))

    def pss_mb(self) -> float:
        """Proportional set size of all processes in MB."""
        return sum(_memory_mb(pid, "Pss:") for pid in {self.pid, *self.answering})

    def worker_mb(self, *kinds: str) -> float:
        """Mean memory of the processes that answer, in MB."""
        return mean(_memory_mb(pid, *kinds) for pid in self.answering)


def read_cpu_s(pid: int) -> float:
    """CPU seconds of a process and its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory_mb(pid: int, *kinds: str) -> float:
    """Memory of the given kinds of one process, in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split()[0]: int(line.split()[1]) for line in lines}  # kB
    return sum(sizes[kind] for kind in kinds) / 1024


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
        SystemExit: the service did not start.
    """
    start = time.perf_counter()
    arguments = ["serendip", "serve", "--workspace", str(workspace)]
    arguments += ["--port", "0", "--workers", str(workers)]
    if still_at is not None:
        arguments = [__name__, str(workspace), str(still_at)]
    command = [sys.executable, "-m", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = next((line for line in process.stdout if line.startswith("Ready:")), "")
        if not line:
            raise SystemExit("The service did not become ready; see its error above.")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        answering = tuple(map(int, children)) if workers > 1 else (process.pid,)
        netloc, ready_s = urlsplit(line.split()[1]).netloc, time.perf_counter() - start
        yield Service(netloc, process.pid, answering, ready_s)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
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


def _serve(workspace: Path, still_at: float) -> None:
    from serendip.runtime.threads import limit_threads

    limit_threads(1)
    from serendip.serve.engine_holder import PublishedGenerations
    from serendip.serve.server import run
    from serendip.serve.server_options import ServerOptions

    published = PublishedGenerations(lambda: _open_engine(workspace, still_at))
    run(
        published,
        ServerOptions(port=0),
        on_listening=lambda address: None,
        on_ready=lambda address: print("Ready:", address, flush=True),
    )


def _open_engine(workspace: Path, still_at: float) -> Engine:
    from serendip.engine.engine import Engine

    class StillEngine(Engine):
        """Follows nothing: the only writer of its workspace, asked as if it had just opened it."""

        def catch_up(self) -> None:
            """Count nothing: the events of other users were posted only to be asked about."""

        def follow_items(self) -> None:
            """Nobody else writes any."""

    return StillEngine.open(workspace, lambda: still_at)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), float(sys.argv[2]))
