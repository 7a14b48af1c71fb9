"""Throughput and memory of a service with several workers, compared with one worker.

Usage: python -m serendip_bench.scripts.workers WORKSPACE [--workers 2] [--json FILE]

Memory: each service runs alone; its proportional set size (PSS: pages that several processes use
are divided among them) after a few seconds of requests, and what one worker has for itself, which
is what a further one costs. Throughput: both services run, and rounds of home requests over
persistent connections go to one and the other in turn, so that what else the machine does meets
both; the ratio is the median of the rounds. Read after write: an item is posted through one worker
and read through another.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import platform
import statistics
import time
import timeit
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from serendip.serve.workers.shared_state import SharedState
from serendip_bench.scripts.latency import list_requests
from serendip_bench.scripts.overload import ask_in_turn
from serendip_bench.scripts.service import Service, fetch, run_service

_WARM_UP_S = 4.0


def measure_memory(workspace: Path, workers: int) -> dict[str, Any]:
    """Memory in MB of the service with one worker and with several, each running alone."""
    result: dict[str, Any] = {}
    for count in (1, workers):
        with run_service(workspace, count) as service:
            _ask_homes(service, list_requests(service.netloc)["home"], 4 * count, _WARM_UP_S)
            with closing(http.client.HTTPConnection(service.netloc)) as connection:
                metrics = fetch(connection, "/metrics").decode()
            items = int(float(metrics.partition('name="items"} ')[2].split()[0]))
            own = service.worker_mb("Private_Dirty:", "Private_Clean:")
            result[f"pss_mb_{count}"] = round(service.pss_mb())
            result[f"own_mb_of_a_worker_{count}"] = round(own)
            result["shared_mb_of_a_worker"] = round(service.worker_mb("Shared_Dirty:"))
    result["items"], result["own_bytes_per_item"] = items, round(own * 1024**2 / items)
    return result


def _ask_homes(service: Service, paths: Sequence[str], clients: int, seconds: float) -> int:
    """Ask for home pages over some connections; the number of answers."""
    answers = asyncio.run(ask_in_turn(service.netloc, paths, clients, seconds))
    if set(answers.statuses) != {200}:
        raise SystemExit(f"The service responded with {dict(answers.statuses)}.")
    return answers.statuses[200]


def measure_throughput(
    workspace: Path, workers: int, rounds: int, seconds: float, clients: int
) -> dict[str, Any]:
    """Requests per second and CPU-ms per request of both services, round by round."""
    with ExitStack() as stack:
        services = [stack.enter_context(run_service(workspace, count)) for count in (1, workers)]
        paths = list_requests(services[0].netloc)["home"]
        for service in services:
            _ask_homes(service, paths, clients, _WARM_UP_S)
        rates: list[list[float]] = [[], []]
        costs: list[list[float]] = [[], []]
        for number in range(rounds):
            for which in (0, 1) if number % 2 == 0 else (1, 0):
                start, cpu_s = time.perf_counter(), services[which].cpu_s()
                answers = _ask_homes(services[which], paths, clients, seconds)
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
        connections = [http.client.HTTPConnection(service.netloc) for _ in range(16)]
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
