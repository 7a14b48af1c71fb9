"""Requests that reach the processes of a service at random moments, each one a drawn process.

The kernel decides which process accepts a connection, and all requests of a connection go to the
same one. So some connections to each process are opened before, and a request takes one of its
process. If none is free it waits for the first that is, as it would wait in the process.

Shapes: R requests.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serendip_bench.cluster_model import Times
from serendip_bench.scripts.overload import Connection, connect

_CONNECTIONS = 4
"""To each process, at least: so many of its requests wait there, further ones here."""

_MOST_CONNECTIONS = 64
"""To each process on average, after which it is given up to reach each of them."""

Idle = asyncio.Queue[Connection]


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Requests that arrive at random.

    Args:
        moments: (R,) seconds from the beginning.
        requests: (R,) which request each one is.
        processes: (R,) who gets it.
    """

    moments: Times
    requests: NDArray[np.int64]
    processes: NDArray[np.int64]

    @classmethod
    def draw(
        cls, processes: int, requests: int, rate: float, seconds: float, seed: int = 3
    ) -> Arrivals:
        """Draw them (Poisson), each kind of ``requests`` and each process equally often.

        Args:
            processes: number of them.
            requests: number of different ones.
            rate: requests per second.
            seconds: in which they arrive.
            seed: of all that is drawn.
        """
        random, count = np.random.default_rng(seed), max(1, int(rate * seconds))
        moments = np.cumsum(random.exponential(1 / rate, count))
        return cls(
            moments, random.integers(0, requests, count), random.integers(0, processes, count)
        )


@asynccontextmanager
async def open_connections(port: int, pids: Sequence[int]) -> AsyncIterator[list[Idle]]:
    """Connections to each of the processes that accept them at a port of this machine, a context.

    Raises:
        SystemExit: one of them accepts too few.
    """
    idle, connections = [Idle() for _ in pids], list[Connection]()
    try:
        while any(queue.qsize() < _CONNECTIONS for queue in idle):
            if len(connections) == _MOST_CONNECTIONS * len(pids):
                counts = [queue.qsize() for queue in idle]
                raise SystemExit(f"Processes {list(pids)} accepted {counts} connections each.")
            connections.append(await connect(f"127.0.0.1:{port}"))
            await connections[-1].ask("/health/live")  # answered, so accepted
            idle[find_process(pids, port, connections[-1].port)].put_nowait(connections[-1])
        yield idle
    finally:
        for connection in connections:
            connection.close()


def find_process(pids: Sequence[int], port: int, client_port: int) -> int:
    """Which of some processes accepted a connection from one port of this machine to another.

    Raises:
        SystemExit: none of them.
    """
    ends = f":{port:04X}", f":{client_port:04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    link = next(
        (f"socket:[{row[9]}]" for row in rows if (row[1][-5:], row[2][-5:]) == ends), "no socket"
    )
    for number, pid in enumerate(pids):
        if link in _open_files(pid):
            return number
    raise SystemExit(f"None of the processes {list(pids)} has accepted a connection to {port}.")


def _open_files(pid: int) -> Iterator[str]:
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            yield os.readlink(file)


async def ask_each(idle: Sequence[Idle], paths: Sequence[str]) -> Times:
    """Ask each process for everything, one request at a time; seconds of each answer, (R,)."""
    times = []
    for queue in idle:
        connection = await queue.get()
        for path in paths:
            begin = time.perf_counter()
            _require_answer(path, await connection.ask(path))
            times.append(time.perf_counter() - begin)
        queue.put_nowait(connection)
    return np.array(times)


async def send(
    idle: Sequence[Idle], paths: Sequence[str], arrivals: Arrivals
) -> tuple[Arrivals, Times]:
    """Send requests and wait for the answers.

    Args:
        idle: connections to each process.
        paths: of the different requests.
        arrivals: what to send whom and when.

    Returns:
        What arrived when, as a client on a busy machine is late itself, and the moments (R,) of
        the answers.
    """
    count = len(arrivals.moments)
    sent, answered, statuses = np.zeros(count), np.zeros(count), np.zeros(count, np.int64)
    begin = time.perf_counter()

    async def ask(number: int) -> None:
        sent[number] = time.perf_counter() - begin
        queue = idle[arrivals.processes[number]]
        connection = await queue.get()
        statuses[number] = await connection.ask(paths[arrivals.requests[number]])
        answered[number] = time.perf_counter() - begin
        queue.put_nowait(connection)

    tasks = []
    for number, moment in enumerate(arrivals.moments.tolist()):
        await asyncio.sleep(max(0.0, begin + moment - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(number)))
    await asyncio.gather(*tasks)
    for number in np.flatnonzero(statuses != 200).tolist():
        _require_answer(paths[arrivals.requests[number]], int(statuses[number]))
    return replace(arrivals, moments=sent), answered


def _require_answer(path: str, status: int) -> None:
    if status != 200:
        raise SystemExit(f"{path} was answered with {status}; on a busy machine lower --load.")
