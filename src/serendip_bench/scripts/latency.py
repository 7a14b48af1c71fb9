"""Latency of search and home over HTTP, beside a route of the same server that does nothing.

Usage: python src/serendip_bench/scripts/latency.py WORKSPACE [--requests 1000] [--clients 1]

Starts the real service on a free port as a process of its own, sends requests over connections
that stay open (one request at a time on each), drops the warm-up, and prints one JSON line: for
each route the 50th, 95th and 99th percentile in milliseconds, and the seconds until the service
lived and was ready.
"""

from __future__ import annotations

import argparse
import http.client
import json
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

_WARM_UP = 50
_SERVE = """
import sys
from serendip.runtime.threads import limit_threads
limit_threads(1)
from serendip.serve.generation_watch import PublishedGenerations
from serendip.serve.server import run
def open_engine():
    from serendip.engine.engine import Engine
    return Engine.open(sys.argv[1])
def tell(word):
    return lambda address: print(word, address, flush=True)
published = PublishedGenerations(open_engine)
run(published, port=0, on_listening=tell("listening"), on_ready=tell("ready"))
"""


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: where it listens, and how long it took."""

    netloc: str
    live_s: float
    ready_s: float


@contextmanager
def serving(workspace: Path) -> Iterator[Service]:
    """The service over a workspace, until the block ends."""
    started = time.perf_counter()
    command = [sys.executable, "-c", _SERVE, str(workspace)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().split()
        if not address:
            raise SystemExit("the service did not start; see its error above")
        netloc = urlsplit(address[1]).netloc
        _get(http.client.HTTPConnection(netloc), "/health/live")
        live_s = time.perf_counter() - started
        if not process.stdout.readline():
            raise SystemExit("the service did not get ready; see its error above")
        yield Service(netloc, live_s, time.perf_counter() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise SystemExit(f"{path} answered {response.status}: {body[:300]!r}")
    return body


def paths_of(netloc: str) -> dict[str, list[str]]:
    """Requests of each kind, made from the users and titles that the service knows."""
    connection = http.client.HTTPConnection(netloc)
    known = json.loads(_get(connection, "/v1/users?limit=500"))["users"]
    users = [user["user_id"] for user in known] or [""]
    titles: dict[str, str] = {}
    for user in users[:25]:
        path = f"/v1/recommend?{urlencode({'user_id': user, 'k': 20})}"
        titles |= {i["item_id"]: i["title"] for i in json.loads(_get(connection, path))["items"]}
    words = [word for title in titles.values() for word in (title, title.split()[-1])]
    some_ids = list(titles)
    return {
        "no-op": ["/health/live"],
        "home": [f"/v1/recommend?{urlencode({'user_id': user, 'k': 20})}" for user in users],
        "search": [f"/v1/search?{urlencode({'q': word, 'k': 20})}" for word in words],
        "search for a user": [
            f"/v1/search?{urlencode({'q': word, 'user_id': users[n % len(users)], 'k': 20})}"
            for n, word in enumerate(words)
        ],
        "similar": [f"/v1/items/{quote(item, safe='')}/similar?k=20" for item in some_ids],
        "suggest": [f"/v1/suggest?{urlencode({'q': word[:4]})}" for word in words],
    }


def measure(netloc: str, paths: list[str], requests: int, clients: int) -> list[float]:
    """Milliseconds of ``requests`` requests, spread over ``clients`` connections."""
    taken: list[float] = []

    def ask(first: int) -> None:
        connection = http.client.HTTPConnection(netloc)
        for number in range(first, requests + _WARM_UP, clients):
            path = paths[number % len(paths)]
            start = time.perf_counter()
            _get(connection, path)
            if number >= _WARM_UP:
                taken.append((time.perf_counter() - start) * 1000)
        connection.close()

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(taken)


def percentiles(taken: list[float]) -> dict[str, float]:
    """The 50th, 95th and 99th percentile of sorted milliseconds."""
    last = len(taken) - 1
    return {f"p{p}": round(taken[round(last * p / 100)], 2) for p in (50, 95, 99)}


def run(workspace: Path, requests: int, clients: int) -> dict[str, Any]:
    """Start, measure every route, stop."""
    with serving(workspace) as service:
        routes = paths_of(service.netloc)
        found = {
            name: percentiles(measure(service.netloc, paths, requests, clients))
            for name, paths in routes.items()
        }
    return {
        "benchmark": "latency",
        "unit": "ms",
        "requests": requests,
        "warm_up": _WARM_UP,
        "clients": clients,
        "live_s": round(service.live_s, 2),
        "ready_s": round(service.ready_s, 2),
        "routes": found,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def main() -> None:
    """Read the arguments, run, print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(run(options.workspace, options.requests, options.clients)))


if __name__ == "__main__":
    main()
