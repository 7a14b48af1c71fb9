"""Cost of long histories: latency for users with 10,000 events and for users with 50.

    python -m serendip_bench.scripts.long_histories demo [--requests 200] [--json FILE]

Works on a copy of a published workspace, to which it posts users with random histories of both
lengths. Requests of the two groups alternate on every surface, on one thread. Prints medians of
wall and CPU milliseconds, their ratio, and the cost of the first request of a user, whose history
is not in memory yet.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np

from serendip.data.events.event import Event
from serendip.engine.artefacts.generations import open_current
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace

SHORT, LONG = 50, 10_000
USERS, WARM_UP = 8, 10


def run(workspace: Path, requests: int, seed: int) -> dict[str, object]:
    """Measure a copy of a workspace."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(workspace, Path(scratch) / "workspace"))
        state = EngineState.open(open_current(Workspace.open(folder).generations).folder)
        items = list(state.catalogue.vocabulary.ids)
        titles = [item.title or item.item_id for item in state.catalogue.items]
        engine = Engine.open(folder)
        rng = np.random.default_rng(seed)
        for count in (SHORT, LONG):
            for number in range(USERS):
                engine.add_events(_draw_history(f"{count}-{number}", count, items, rng))
        first_ms = {count: _measure_first(engine, count) for count in (SHORT, LONG)}
        chosen = rng.integers(0, len(items), requests + WARM_UP)
        requests_of: dict[str, Callable[[str, int], object]] = {
            "home": lambda user, item: engine.recommend(Request("home", user, k=20)),
            "search": lambda user, item: engine.search(titles[item], user_id=user, k=20),
            "similar": lambda user, item: engine.similar(items[item], user_id=user, k=20),
        }
        surfaces = {
            name: _measure(request, chosen.tolist()) for name, request in requests_of.items()
        }
        engine.close()
    return {
        "benchmark": "long_histories",
        "unit": "ms, p50",
        "events": [SHORT, LONG],
        "requests": requests,
        "items": len(items),
        "surfaces": surfaces,
        "first_request": {str(count): value for count, value in first_ms.items()},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _draw_history(user: str, count: int, items: list[str], rng: np.random.Generator) -> list[Event]:
    chosen = rng.integers(0, len(items), count).tolist()
    start = 1_600_000_000.0
    return [Event(user, items[item], start + 60.0 * n) for n, item in enumerate(chosen)]


def _measure_first(engine: Engine, count: int) -> float:
    """Median milliseconds of the first home request of each user."""
    engine.recommend(Request("home", k=20))
    times = [
        _time(partial(engine.recommend, Request("home", f"{count}-{number}", k=20)))[0]
        for number in range(USERS)
    ]
    return round(median(times), 2)


def _measure(request: Callable[[str, int], object], items: list[int]) -> dict[str, float]:
    """Medians for both groups of users, whose requests alternate, and their ratios."""
    times_of: dict[int, list[tuple[float, float]]] = {SHORT: [], LONG: []}
    for number, item in enumerate(items):
        for count, times in times_of.items():
            user = f"{count}-{number % USERS}"
            times.append(_time(partial(request, user, item)))
    result: dict[str, float] = {}
    for column, kind in enumerate(("wall", "cpu")):
        medians = [
            median(time_pair[column] for time_pair in times_of[count][WARM_UP:])
            for count in (SHORT, LONG)
        ]
        result |= {
            f"{kind}_{count}": round(v, 2) for count, v in zip(times_of, medians, strict=True)
        }
        result[f"{kind}_ratio"] = round(medians[1] / medians[0], 3)
    return result


def _time(request: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU milliseconds of a request."""
    wall, cpu = time.perf_counter(), time.process_time()
    request()
    return (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    text = json.dumps(run(options.workspace, options.requests, options.seed))
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
