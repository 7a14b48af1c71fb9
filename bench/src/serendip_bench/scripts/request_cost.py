"""CPU time of a request, in-process and over HTTP, per surface.

Usage: python -m serendip_bench.scripts.request_cost WORKSPACE [--requests 300] [--http]

Opens the engine of a workspace and answers requests of users, titles and items that it knows, k =
20, with reasons, on one thread; pasts and texts are in memory, as for a returning user. Prints one
JSON line: the mean CPU milliseconds per request of each kind. ``--http`` also runs the service in a
process of its own and reads that process's CPU time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np

from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip_bench.latency import WARM_UP, list_requests, measure
from serendip_bench.service import run_service

_K, _WARM_UP, _ROUNDS = 20, 20, 5
_KINDS = ("home", "search", "search for a user", "similar")
"""Kinds of requests whose mean is reported."""


def list_engine_requests(engine: Engine) -> dict[str, list[Request]]:
    """Requests of each kind, from users and items of the engine."""
    users = [user for user, _ in engine.users(500)] or [""]
    rng, catalogue = np.random.default_rng(0), engine.state.catalogue
    chosen = rng.permutation(len(catalogue))[:300].tolist()
    items = [catalogue[number] for number in chosen]
    titles = [item.title or item.item_id for item in items]
    texts = [text for title in titles for text in (title, title.split()[-1])]
    return {
        "home": [Request("home", user, k=_K) for user in users],
        "search": [Request("search", text=text, k=_K) for text in texts],
        "search for a user": [
            Request("search", users[n % len(users)], text, k=_K) for n, text in enumerate(texts)
        ],
        "similar": [Request("similar", item_ids=(item.item_id,), k=_K) for item in items],
        "cart": [
            Request("cart", users[n % len(users)], item_ids=(item.item_id,), k=_K)
            for n, item in enumerate(items)
        ],
    }


def measure_engine(engine: Engine, requests: Sequence[Request], count: int) -> float:
    """Mean CPU-ms per request of the quietest of a few rounds."""
    means = []
    for _ in range(_ROUNDS):
        per_round = max(1, count // _ROUNDS)
        begin = time.process_time()
        for number in range(per_round):
            engine.recommend(requests[number % len(requests)])
        means.append((time.process_time() - begin) / per_round * 1000)
    return float(np.median(means))


def measure_kinds(engine: Engine, count: int) -> dict[str, float]:
    """CPU-ms of each kind of request, and the mean of ``_KINDS``."""
    costs = {}
    for kind, requests in list_engine_requests(engine).items():
        engine.queries(requests)  # pasts, corrections and vectors of texts are in memory then
        for request in requests[:_WARM_UP]:
            engine.recommend(request)
        costs[kind] = round(measure_engine(engine, requests, count), 3)
    return {**costs, "mean": round(float(np.mean([costs[kind] for kind in _KINDS])), 3)}


def measure_service(workspace: Path, count: int) -> dict[str, float]:
    """CPU-ms of the service's process per request of each kind over HTTP."""
    costs = {}
    with run_service(workspace) as service:
        for kind, paths in list_requests(service.netloc).items():
            measure(service.netloc, paths, 20, 1)
            begin = service.cpu_s()
            measure(service.netloc, paths, count, 1)
            costs[kind] = round((service.cpu_s() - begin) / (count + WARM_UP) * 1000, 3)
    return {**costs, "mean": round(float(np.mean([costs[kind] for kind in _KINDS])), 3)}


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--http", action="store_true")
    options = parser.parse_args()
    engine = Engine.open(options.workspace)
    document: dict[str, Any] = {
        "benchmark": "request cost",
        "unit": "CPU-ms per request",
        "items": engine.state.num_items,
        "with reasons": measure_kinds(engine, options.requests),
    }
    engine.close()
    if options.http:
        document["over HTTP"] = measure_service(options.workspace, options.requests)
    print(json.dumps(document))


if __name__ == "__main__":
    main()
