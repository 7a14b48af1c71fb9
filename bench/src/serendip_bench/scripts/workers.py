"""Throughput and memory of a service with several workers, compared with one worker.

Usage: python -m serendip_bench.scripts.workers WORKSPACE [--workers 2] [--json FILE]

Memory: each service runs alone; its proportional set size (PSS: pages that several processes use
are divided among them) after as many requests per worker, and what one worker has for itself, which
is what a further one costs. Throughput: both services run, and rounds of home requests over
persistent connections go to one and the other in turn, so that what else the machine does meets
both; the ratio is the median of the rounds. Read after write: an item is posted through one worker
and read through another.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from serendip.serve.workers.shared_state import SharedState

_WARM_UP = 300
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class MeasuredService:
    """A running service: process ids of the one asked to start, and of those that answer."""

    pid: int
    answering: tuple[int, ...]
    port: int

    @property
    def pids(self) -> tuple[int, ...]:
        """All processes of the service."""
        return (self.pid, *(pid for pid in self.answering if pid != self.pid))

    def cpu_s(self) -> float:
        """CPU seconds of all processes so far."""
        return sum(map(read_cpu_s, self.pids))

    def pss_mb(self) -> float:
        """Proportional set size of all processes in MB."""
        return sum(_memory_mb(pid, "Pss:") for pid in self.pids)

    def worker_mb(self, *kinds: str) -> float:
        """Mean memory of the processes that answer, in MB."""
        return statistics.mean(_memory_mb(pid, *kinds) for pid in self.answering)


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
    workspace: Path, workers: int, settings: Mapping[str, str] | None = None
) -> Iterator[MeasuredService]:
    """Run ``serendip serve`` as a context.

    Args:
        workspace: its folder.
        workers: processes that answer.
        settings: variables of its environment beside those of this process.
    """
    command = [sys.executable, "-m", "serendip", "serve", "--workspace", str(workspace)]
    command += ["--port", "0", "--workers", str(workers)]
    environment = {**os.environ, **(settings or {})}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        line = ""
        while not line.startswith("Ready:"):
            line = process.stdout.readline()
            if not line:
                raise SystemExit("The service did not become ready; see its error above.")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        answering = tuple(map(int, children)) if workers > 1 else (process.pid,)
        yield MeasuredService(process.pid, answering, urlsplit(line.split()[1]).port or 0)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        process.stdout.close()


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != 200:
        raise SystemExit(f"{path} responded with {response.status}: {body[:300]!r}.")
    return body


def list_home_requests(port: int) -> list[bytes]:
    """Requests of the home page of the most active users, as they go over the wire."""
    users = [user["user_id"] for user in json.loads(_get(port, "/v1/users?limit=500"))["users"]]
    paths = [f"/v1/recommend?{urlencode({'user_id': user, 'k': 20})}" for user in users or [""]]
    return [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for path in paths]


class Load:
    """Closed-loop load: each connection sends its next request when it has the last answer.

    Args:
        port: of the service.
        requests: sent in turn.
        clients: number of connections.
    """

    def __init__(self, port: int, requests: Sequence[bytes], clients: int) -> None:
        self._requests = cycle(requests)
        self._selector = selectors.DefaultSelector()
        self._sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
        for connection in self._sockets:
            self._selector.register(connection, selectors.EVENT_READ, bytearray())

    def send(self, seconds: float = float("inf"), most: float = float("inf")) -> int:
        """Send requests for some seconds, or so many; return the number of answers."""
        for connection in self._sockets:
            connection.sendall(next(self._requests))
        end, answers, open_requests = time.perf_counter() + seconds, 0, len(self._sockets)
        while open_requests:
            for key, _ in self._selector.select():
                if not _read_answer(key):
                    continue
                answers += 1
                if time.perf_counter() < end and answers + open_requests <= most:
                    key.fileobj.sendall(next(self._requests))  # type: ignore[union-attr]
                else:
                    open_requests -= 1
        return answers

    def close(self) -> None:
        """Close all connections."""
        self._selector.close()
        for connection in self._sockets:
            connection.close()


def _read_answer(key: selectors.SelectorKey) -> bool:
    """Read what has arrived; whether the answer is complete."""
    buffer: bytearray = key.data
    buffer += key.fileobj.recv(1 << 18)  # type: ignore[union-attr]
    head, found, body = bytes(buffer).partition(b"\r\n\r\n")
    if not found:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"The service responded with {head[:100]!r}.")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    if len(body) < length:
        return False
    buffer.clear()
    return True


def measure_memory(workspace: Path, workers: int) -> dict[str, Any]:
    """Memory in MB of the service with one worker and with several, each running alone."""
    result: dict[str, Any] = {}
    for count in (1, workers):
        with run_service(workspace, count) as service:
            load = Load(service.port, list_home_requests(service.port), 4 * count)
            load.send(most=_WARM_UP * count)
            load.close()
            metrics = _get(service.port, "/metrics").decode()
            items = int(float(metrics.partition('name="items"} ')[2].split()[0]))
            own = service.worker_mb("Private_Dirty:", "Private_Clean:")
            result[f"pss_mb_{count}"] = round(service.pss_mb())
            result[f"own_mb_of_a_worker_{count}"] = round(own)
            result["shared_mb_of_a_worker"] = round(service.worker_mb("Shared_Dirty:"))
    result["items"], result["own_bytes_per_item"] = items, round(own * 1024**2 / items)
    return result


def measure_throughput(
    workspace: Path, workers: int, rounds: int, seconds: float, clients: int
) -> dict[str, Any]:
    """Requests per second and CPU-ms per request of both services, round by round."""
    with ExitStack() as stack:
        services = [stack.enter_context(run_service(workspace, count)) for count in (1, workers)]
        loads = []
        for service in services:
            load = Load(service.port, list_home_requests(service.port), clients)
            stack.callback(load.close)
            load.send(most=_WARM_UP)
            loads.append(load)
        rates: list[list[float]] = [[], []]
        costs: list[list[float]] = [[], []]
        for number in range(rounds):
            for which in (0, 1) if number % 2 == 0 else (1, 0):
                start, cpu_s = time.perf_counter(), services[which].cpu_s()
                answers = loads[which].send(seconds)
                rates[which].append(answers / (time.perf_counter() - start))
                costs[which].append((services[which].cpu_s() - cpu_s) * 1000 / answers)
        ratios = [several / one for one, several in zip(*rates, strict=True)]
        return {
            "requests_per_s": [round(statistics.median(values), 1) for values in rates],
            "cpu_ms_per_request": [round(statistics.median(values), 2) for values in costs],
            "ratio": round(statistics.median(ratios), 2),
            "ratios": [round(ratio, 2) for ratio in ratios],
        }


def measure_reads(workspace: Path, workers: int, posts: int = 100) -> dict[str, float]:
    """Median ms to read an item after a post through some worker, and again without a post.

    Changes the workspace: the posted items are deleted at the end.
    """
    times: dict[str, list[float]] = {"after_a_post": [], "without": []}
    with run_service(workspace, workers) as service:
        connections = [http.client.HTTPConnection("127.0.0.1", service.port) for _ in range(16)]
        for number in range(posts):
            body = json.dumps({"item_id": f"bench-{number}", "title": f"Posted item {number}"})
            _ask(connections[0], "POST", "/v1/items", body)
            reader = connections[1 + number % 15]
            for values in times.values():
                start = time.perf_counter()
                _ask(reader, "GET", f"/v1/items/bench-{number}")
                values.append((time.perf_counter() - start) * 1000)
        for number in range(posts):
            _ask(connections[0], "DELETE", f"/v1/items/bench-{number}")
    return {name: round(statistics.median(values), 2) for name, values in times.items()}


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: str = "") -> None:
    connection.request(method, path, body or None)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise SystemExit(f"{method} {path} responded with {response.status}: {answer[:300]!r}.")


def measure_look() -> float:
    """Nanoseconds of the look at the shared version that every read begins with."""
    shared = SharedState()
    count = 200_000
    return round(timeit.timeit(lambda: shared.acknowledged, number=count) / count * 1e9)


def main() -> None:
    """Parse, measure, print one JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    workspace, workers = options.workspace, options.workers
    document = {
        "benchmark": "workers",
        "workers": workers,
        "clients": options.clients,
        "memory": measure_memory(workspace, workers),
        "throughput": measure_throughput(
            workspace, workers, options.rounds, options.seconds, options.clients
        ),
        "read_ms": measure_reads(workspace, workers),
        "look_ns": measure_look(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    text = json.dumps(document, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
