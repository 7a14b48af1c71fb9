"""What a service does when it is asked for more than it can compute.

Usage: python -m serendip_bench.scripts.overload WORKSPACE [--seconds 60] [--times 4]
[--workers 1]

Starts the service on a free port in a process of its own and asks it over persistent connections,
with a mix of home, search and similar, from one process that does nothing else:

1. unloaded: one request at a time;
2. at capacity: eight connections, each with one request at a time;
3. overloaded: requests come at random moments (Poisson), ``--times`` as many per second as were
   answered in 2, whether or not earlier ones are answered. Beside them ``/health/live`` and
   ``/health/ready`` are asked ten times per second.

One JSON line: percentiles in milliseconds, answers per second, shares of statuses, and the memory
of one process of the service in megabytes before and after, and at most. Percentiles count from the
moment at which a request was due, so a client that falls behind makes them worse, not better.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serendip_bench.latency import compute_percentiles, list_requests
from serendip_bench.service import read_memory_mb, run_service

_WARM_UP_S = 3.0
_MIX = ("home", "search", "similar")
_MOST_CONNECTIONS = 2_000
_HEALTH = ("/health/live", "/health/ready")


@dataclass(slots=True)
class Connection:
    """A persistent connection with one request at a time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    says_when: bool = False
    """Whether the last answer says when to ask again."""

    async def ask(self, path: str) -> int:
        """The status of the answer; 0 = the connection was closed."""
        try:
            self.writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length: ")[2].split(b"\r\n")[0]
            await self.reader.readexactly(int(length))
        except (OSError, asyncio.IncompleteReadError):
            return 0
        self.says_when = b"\r\nretry-after: " in head
        return int(head[9:12])


@dataclass
class Answers:
    """Statuses and milliseconds of the answers of one phase.

    Args:
        seconds: in which was asked.
        until_last_s: until the last answer was there; 0 = as long as was asked.
    """

    seconds: float = 0.0
    until_last_s: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    silent: int = 0

    def add(self, status: int, milliseconds: float, says_when: bool = True) -> None:
        """Count an answer; ``silent`` are refusals that do not say when to ask again."""
        self.statuses[status] += 1
        self.silent += status == 429 and not says_when
        (self.accepted if status == 200 else self.refused).append(milliseconds)

    @property
    def answered_per_s(self) -> float:
        """What was accepted, per second until its last answer: late answers are no throughput."""
        return self.statuses[200] / max(self.seconds, self.until_last_s)

    def summarise(self) -> dict[str, Any]:
        """Rates, shares of statuses and percentiles."""
        asked = self.statuses.total()
        found: dict[str, Any] = {
            "asked_per_s": round(asked / self.seconds, 1),
            "answered_per_s": round(self.answered_per_s, 1),
            "refused_without_retry_after": self.silent,
            "shares": {str(s): round(n / asked, 4) for s, n in sorted(self.statuses.items())},
        }
        for name, times in (("ms", self.accepted), ("refused_ms", self.refused)):
            if times:
                found[name] = compute_percentiles(sorted(times))
        return found


def list_mixed_requests(netloc: str) -> list[str]:
    """Home, search and similar in turn, as many of each, from users and titles of the service."""
    routes = list_requests(netloc)
    groups = zip(*(routes[name] for name in _MIX), strict=False)
    return [path for group in groups for path in group]


async def connect(netloc: str) -> Connection:
    """A new connection."""
    host, port = netloc.split(":")
    return Connection(*await asyncio.open_connection(host, int(port)))


async def ask_in_turn(netloc: str, paths: Sequence[str], clients: int, seconds: float) -> Answers:
    """Ask over some connections, one request at a time on each."""
    answers = Answers(seconds)
    start = time.perf_counter()

    async def ask(first: int) -> None:
        connection, number = await connect(netloc), first
        while time.perf_counter() - start < seconds:
            began = time.perf_counter()
            status = await connection.ask(paths[number % len(paths)])
            answers.add(status, (time.perf_counter() - began) * 1000)
            number += clients

    await asyncio.gather(*(ask(number) for number in range(clients)))
    return answers


async def ask_at_random(
    netloc: str, paths: Sequence[str], per_s: float, seconds: float, seed: int
) -> Answers:
    """Ask at random moments, so many times per second, whatever becomes of earlier requests."""
    answers, idle = Answers(seconds), list[Connection]()
    rng, tasks = random.Random(seed), set[asyncio.Task[None]]()

    async def ask(path: str, due: float) -> None:
        connection = idle.pop() if idle else await connect(netloc)
        status = await connection.ask(path)
        answers.add(status, (time.perf_counter() - due) * 1000, connection.says_when)
        if status:
            idle.append(connection)

    start = due = time.perf_counter()
    while due < start + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if len(tasks) < _MOST_CONNECTIONS:
            task = asyncio.create_task(ask(rng.choice(paths), due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        else:
            answers.add(0, 0.0)
        due += rng.expovariate(per_s)
    await asyncio.gather(*tasks)
    answers.until_last_s = time.perf_counter() - start
    return answers


async def watch(netloc: str, pid: int, seconds: float) -> tuple[list[float], float]:
    """Milliseconds of the health routes, and the most memory in megabytes."""
    connection, times, most = await connect(netloc), list[float](), 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for path in _HEALTH:
            began = time.perf_counter()
            if await connection.ask(path) != 200:
                raise SystemExit(f"{path} did not answer.")
            times.append((time.perf_counter() - began) * 1000)
        most = max(most, read_memory_mb(pid))
        await asyncio.sleep(0.1)
    return sorted(times), most


async def measure(netloc: str, pid: int, seconds: float, times: float, seed: int) -> dict[str, Any]:
    """All phases, one after the other.

    Args:
        netloc: of the service.
        pid: of one of its processes.
        seconds: of the last phase; the others take a quarter.
        times: requests per second of the last phase, as a multiple of what can be answered.
        seed: of the moments and requests.
    """
    paths = list_mixed_requests(netloc)
    await ask_in_turn(netloc, paths, 8, _WARM_UP_S)
    unloaded = await ask_in_turn(netloc, paths, 1, seconds / 4)
    capacity = await ask_in_turn(netloc, paths, 8, seconds / 4)
    before = read_memory_mb(pid)
    per_s = times * capacity.answered_per_s
    overload, (health, most) = await asyncio.gather(
        ask_at_random(netloc, paths, per_s, seconds, seed),
        watch(netloc, pid, seconds),
    )
    accepted = sorted(overload.accepted)
    ratio = (
        compute_percentiles(accepted)["p99"] / compute_percentiles(sorted(unloaded.accepted))["p99"]
    )
    return {
        "unloaded": unloaded.summarise(),
        "capacity": capacity.summarise(),
        "overload": overload.summarise(),
        "health_ms": compute_percentiles(health),
        "goodput_of_capacity": round(overload.answered_per_s * times / per_s, 3),
        "p99_of_unloaded": round(ratio, 2),
        "memory_mb": {
            "before": round(before),
            "most": round(most),
            "after": round(read_memory_mb(pid)),
        },
    }


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with run_service(options.workspace, options.workers) as service:
        asked = measure(
            service.netloc, service.answering[0], options.seconds, options.times, options.seed
        )
        found = asyncio.run(asked)
    found |= {"benchmark": "overload", "times": options.times, "workers": options.workers}
    found |= {"python": platform.python_version()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
