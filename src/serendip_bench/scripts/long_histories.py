"""What a long past costs: answers for users with 10,000 events beside users with 50.

    python src/serendip_bench/scripts/long_histories.py demo [--requests 200] [--json FILE]

Works on a copy of a published workspace, to which it posts users with random pasts of both lengths.
Requests for the two kinds alternate on every surface, in one thread. Printed are the medians of
wall and CPU milliseconds, their ratio, and what the first request of a user costs, whose past is
not in memory yet.
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

from serendip.data.event import Event
from serendip.engine.engine import Engine
from serendip.engine.generations import open_current
from serendip.engine.request import Request
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace

SHORT, LONG = 50, 10_000
USERS, WARM_UP = 8, 10


def run(workspace: Path, requests: int, seed: int) -> dict[str, object]:
    """All figures of one workspace, which stays as it is."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(workspace, Path(scratch) / "workspace"))
        state = EngineState.open(open_current(Workspace.open(folder).generations).folder)
        items = list(state.catalogue.vocabulary.ids)
        titles = [item.title or item.item_id for item in state.catalogue.items]
        engine = Engine.open(folder)
        rng = np.random.default_rng(seed)
        for count in (SHORT, LONG):
            for number in range(USERS):
                engine.add_events(_past(f"{count}-{number}", count, items, rng))
        firsts = {count: _first(engine, count) for count in (SHORT, LONG)}
        chosen = rng.integers(0, len(items), requests + WARM_UP)
        asks: dict[str, Callable[[str, int], object]] = {
            "home": lambda user, item: engine.recommend(Request("home", user, k=20)),
            "search": lambda user, item: engine.search(titles[item], user_id=user, k=20),
            "similar": lambda user, item: engine.similar(items[item], user_id=user, k=20),
        }
        surfaces = {name: _measured(ask, chosen.tolist()) for name, ask in asks.items()}
        engine.close()
    return {
        "benchmark": "long_histories",
        "unit": "ms, p50",
        "events": [SHORT, LONG],
        "requests": requests,
        "items": len(items),
        "surfaces": surfaces,
        "first_request": {str(count): value for count, value in firsts.items()},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _past(user: str, count: int, items: list[str], rng: np.random.Generator) -> list[Event]:
    chosen = rng.integers(0, len(items), count).tolist()
    start = 1_600_000_000.0
    return [Event(user, items[item], start + 60.0 * n) for n, item in enumerate(chosen)]


def _first(engine: Engine, count: int) -> float:
    """Median milliseconds of the first home request of each user."""
    engine.recommend(Request("home", k=20))
    taken = [
        _timed(partial(engine.recommend, Request("home", f"{count}-{number}", k=20)))[0]
        for number in range(USERS)
    ]
    return round(median(taken), 2)


def _measured(ask: Callable[[str, int], object], items: list[int]) -> dict[str, float]:
    """Medians for both kinds of users, whose requests alternate, and the ratios."""
    taken: dict[int, list[tuple[float, float]]] = {SHORT: [], LONG: []}
    for number, item in enumerate(items):
        for count, times in taken.items():
            user = f"{count}-{number % USERS}"
            times.append(_timed(partial(ask, user, item)))
    found: dict[str, float] = {}
    for place, kind in enumerate(("wall", "cpu")):
        both = [median(one[place] for one in taken[count][WARM_UP:]) for count in (SHORT, LONG)]
        found |= {f"{kind}_{count}": round(v, 2) for count, v in zip(taken, both, strict=True)}
        found[f"{kind}_ratio"] = round(both[1] / both[0], 3)
    return found


def _timed(ask: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of wall and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    ask()
    return (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000


def main() -> None:
    """Read the arguments, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures to a file, too")
    options = parser.parse_args()
    text = json.dumps(run(options.workspace, options.requests, options.seed))
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
