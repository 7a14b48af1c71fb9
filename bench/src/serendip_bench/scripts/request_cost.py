"""CPU time of a request, in-process and over HTTP, per surface and per step.

Usage: python -m serendip_bench.scripts.request_cost WORKSPACE [--requests 300] [--http]
        [--items N] [--table]

Opens the engine of a workspace and answers requests of users, titles and items that it knows, k =
20, on one thread; pasts and texts are in memory, as for a returning user. Prints one JSON line: the
mean CPU milliseconds per request of each kind of request, with reasons and without, and the share
of each step. With ``--items`` a workspace of that many items and 100 users is made first, without
training (see ``serendip_bench.large_state``); it has no ranker. ``--http`` also runs the service in
a process of its own and reads that process's CPU time. ``--table`` prints, instead of all this, the
steps of a home and of a search request beside the cost of their raw parts: one search of each
index, the word search, the networks, and a route that does nothing. Their sum is the least that a
request can cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np
from fastapi import FastAPI

from serendip.data.events.event import Event
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.batch import shorten_history
from serendip.engine.stages.surfaces import visible_to
from serendip.models.query_scores import VectorScores
from serendip.models.retriever.model import Retriever
from serendip_bench.large_state import write_workspace
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


def draw_events(engine: Engine, num_users: int = 100, length: int = 40) -> list[Event]:
    """Random clicks of users."""
    rng, ids = np.random.default_rng(1), engine.state.catalogue.vocabulary
    chosen = rng.integers(0, len(ids), (num_users, length)).tolist()
    now = time.time() - length
    return [
        Event(f"u{user}", ids.id(item), now + step, "click")
        for user, items in enumerate(chosen)
        for step, item in enumerate(items)
    ]


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


def measure_kinds(engine: Engine, count: int, reasons: bool) -> dict[str, float]:
    """CPU-ms of each kind of request, and the mean of ``_KINDS``."""
    costs = {}
    for kind, requests in list_engine_requests(engine).items():
        asked = [replace(request, reasons=reasons) for request in requests]
        engine.queries(asked)  # pasts, corrections and vectors of texts are in memory from here on
        for request in asked[:_WARM_UP]:
            engine.recommend(request)
        costs[kind] = round(measure_engine(engine, asked, count), 3)
    return {**costs, "mean": round(float(np.mean([costs[kind] for kind in _KINDS])), 3)}


def measure_steps(engine: Engine, count: int) -> dict[str, dict[str, float]]:
    """CPU-ms of each step of the requests of each kind."""
    return {
        kind: dict(_time_steps(engine, requests[:count]))
        for kind, requests in list_engine_requests(engine).items()
    }


def _time_steps(engine: Engine, requests: Sequence[Request]) -> Iterator[tuple[str, float]]:
    """(step, mean CPU-ms), by functions of the pipeline that are timed where they are called."""
    from serendip.engine import presenter
    from serendip.engine.explanations.explain import Explainer
    from serendip.engine.query_builder import QueryBuilder
    from serendip.engine.stages import pipeline
    from serendip.engine.stages.selection import Selector

    seconds: dict[str, float] = {}

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            begin = time.process_time()
            try:
                return call(*arguments, **named)
            finally:
                seconds[name] = seconds.get(name, 0.0) + time.process_time() - begin

        return run

    steps = [
        (QueryBuilder, "build", "query"),
        (pipeline, "_propose", "filters and sources"),
        (pipeline, "feature_matrix", "features"),
        (pipeline, "score_candidates", "scores"),
        (Selector, "results", "selection"),
        (Explainer, "reasons", "reasons"),
        (presenter, "search_feedback", "feedback"),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in steps]
    for (owner, name, original), (_, _, label) in zip(originals, steps, strict=True):
        setattr(owner, name, timed(label, original))
    try:
        begin = time.process_time()
        for request in requests:
            engine.recommend(request)
        total = time.process_time() - begin
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)
    for name, spent in seconds.items():
        yield name, round(spent / len(requests) * 1000, 3)
    yield "rest", round((total - sum(seconds.values())) / len(requests) * 1000, 3)


def measure_raw_parts(engine: Engine, request: Request, count: int) -> dict[str, float]:
    """CPU-ms of the parts of a request that no restructuring can take away.

    The index of each model that proposes, the word search, the context encoder and the ranker's
    pass over 300 candidates, each alone and repeated, so that its data are in the cache; and a
    route that answers without doing anything.
    """
    state = engine.state
    surface = engine.settings.all_surfaces()[request.surface]
    query = shorten_history(visible_to(surface, engine.queries([request])[0]), state)
    calls: dict[str, Callable[[], Any]] = {}
    for name, model in state.models.items():
        if name in surface.sources and isinstance(
            scores := model.query_scores([query]), VectorScores
        ):
            vector = scores._reduced[0]
            calls[f"index of {name}"] = partial(scores._index.search, vector, 100, None)
    retriever = state.models.get("retriever")
    if isinstance(retriever, Retriever):
        calls["context encoder and its inputs"] = partial(retriever._encode, [query])
    if "words" in surface.sources:
        calls["word search"] = partial(state.searcher.lexical.search, query.searched, 200)
    if state.ranker is not None:
        features = np.zeros((300, len(state.feature_names)), np.float32)
        tasks = np.zeros(len(features), np.int64)
        calls["ranker, 300 candidates"] = partial(state.ranker.predict, features, tasks)
    calls["route"] = _empty_route()
    return {name: _time_call(call, count) for name, call in calls.items()}


def _empty_route() -> Callable[[], Any]:
    """A call of a FastAPI route that returns a constant, without a network."""
    app, loop = FastAPI(), asyncio.new_event_loop()
    app.get("/")(lambda: {"ok": True})
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        pass

    return lambda: loop.run_until_complete(app({**scope}, receive, send))


def _time_call(call: Callable[[], Any], count: int) -> float:
    """Mean CPU-ms of the quietest of a few rounds."""
    call()
    means = []
    for _ in range(_ROUNDS):
        begin = time.process_time()
        for _ in range(count):
            call()
        means.append((time.process_time() - begin) / count * 1000)
    return round(min(means), 3)


def print_table(engine: Engine, count: int) -> None:
    """Print the steps of a home and of a search request beside their raw parts, as Markdown."""
    requests = list_engine_requests(engine)
    for kind in ("home", "search"):
        asked = requests[kind][:count]
        engine.queries(asked)  # pasts and texts are in memory from here on
        for request in asked[:_WARM_UP]:
            engine.recommend(request)
        steps, raw = dict(_time_steps(engine, asked)), measure_raw_parts(engine, asked[0], count)
        whole, least = sum(steps.values()), sum(raw.values()) - raw["route"]
        print(f"| {kind}: step | CPU-ms | share | raw part | CPU-ms |\n|---|---|---|---|---|")
        for step, part in zip_longest(steps.items(), raw.items()):
            left = f"{step[0]} | {step[1]:.2f} | {step[1] / whole:.0%}" if step else " | | "
            right = f"{part[0]} | {part[1]:.3f}" if part else " | "
            print(f"| {left} | {right} |")
        print(f"| all | {whole:.2f} | {whole / least:.1f} x | all but the route | {least:.2f} |\n")


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
    parser.add_argument("--items", type=int, default=0)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.items:
        write_workspace(options.workspace, options.items)
    engine = Engine.open(options.workspace)
    if options.items:
        engine.add_events(draw_events(engine))
    if options.table:
        print_table(engine, options.requests)
        engine.close()
        return
    document: dict[str, Any] = {
        "benchmark": "request cost",
        "unit": "CPU-ms per request",
        "items": engine.state.num_items,
        "with reasons": measure_kinds(engine, options.requests, reasons=True),
        "without reasons": measure_kinds(engine, options.requests, reasons=False),
        "steps": measure_steps(engine, options.requests),
    }
    engine.close()
    if options.http:
        document["over HTTP"] = measure_service(options.workspace, options.requests)
    print(json.dumps(document))


if __name__ == "__main__":
    main()
