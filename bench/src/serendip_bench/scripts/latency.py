"""Latency of the service over HTTP, compared with a no-op route of the same server.

Usage: python -m serendip_bench.scripts.latency WORKSPACE [--requests 1000] [--clients 1]

Starts the service on a free port in a process of its own, sends requests over persistent
connections (one request at a time on each), drops the warm-up, and prints one JSON line: the 50th,
95th and 99th percentile of each route in milliseconds, and the seconds until the service was live
and ready.
"""

from __future__ import annotations

import argparse
import http.client
import json
import platform
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from serendip_bench.scripts.service import fetch, run_service

_WARM_UP = 50


def list_requests(netloc: str) -> dict[str, list[str]]:
    """Requests of each route, from users and titles of the service."""
    with closing(http.client.HTTPConnection(netloc)) as connection:
        rows = json.loads(fetch(connection, "/v1/users?limit=500"))["users"]
        users = [user["user_id"] for user in rows] or [""]
        titles: dict[str, str] = {}
        for user in users[:25]:
            path = f"/v1/recommend?{urlencode({'user_id': user, 'k': 20})}"
            items = json.loads(fetch(connection, path))["items"]
            titles |= {item["item_id"]: item["title"] for item in items}
    texts = [text for title in titles.values() for text in (title, title.split()[-1])]
    item_ids = list(titles)
    return {
        "no-op": ["/health/live"],
        "home": [f"/v1/recommend?{urlencode({'user_id': user, 'k': 20})}" for user in users],
        "search": [f"/v1/search?{urlencode({'q': text, 'k': 20})}" for text in texts],
        "search for a user": [
            f"/v1/search?{urlencode({'q': text, 'user_id': users[n % len(users)], 'k': 20})}"
            for n, text in enumerate(texts)
        ],
        "similar": [f"/v1/items/{quote(item, safe='')}/similar?k=20" for item in item_ids],
        "suggest": [f"/v1/suggest?{urlencode({'q': text[:4]})}" for text in texts],
    }


def measure(netloc: str, paths: list[str], requests: int, clients: int) -> list[float]:
    """Sorted milliseconds of ``requests`` requests over ``clients`` connections."""
    times: list[float] = []

    def send(first: int) -> None:
        connection = http.client.HTTPConnection(netloc)
        for number in range(first, requests + _WARM_UP, clients):
            path = paths[number % len(paths)]
            start = time.perf_counter()
            fetch(connection, path)
            if number >= _WARM_UP:
                times.append((time.perf_counter() - start) * 1000)
        connection.close()

    threads = [threading.Thread(target=send, args=(first,)) for first in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(times)


def compute_percentiles(times: list[float]) -> dict[str, float]:
    """The 50th, 95th and 99th percentile of sorted milliseconds."""
    last = len(times) - 1
    return {f"p{p}": round(times[round(last * p / 100)], 2) for p in (50, 95, 99)}


def run(workspace: Path, requests: int, clients: int) -> dict[str, Any]:
    """Start the service, measure every route, stop it."""
    with run_service(workspace) as service:
        routes = list_requests(service.netloc)
        latencies = {
            name: compute_percentiles(measure(service.netloc, paths, requests, clients))
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
        "routes": latencies,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(run(options.workspace, options.requests, options.clients)))


if __name__ == "__main__":
    main()
