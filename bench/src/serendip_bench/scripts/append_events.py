"""Events per second that a store acknowledges, on SQLite or PostgreSQL.

Usage: python -m serendip_bench.scripts.append_events PLACE [--batches 300] [--size 100]
           [--writers 1] [--json FILE]

PLACE is a path of a new SQLite file, or the URL of an empty PostgreSQL database. Each writer is a
process that appends batches of events with ids of their own, one after the other; every batch is
one transaction, durable when it is acknowledged. Prints acknowledged events per second of all
writers together, milliseconds per batch (median, 99 %), and CPU milliseconds of a writer per batch,
without those of the server. The last lines are a commit watch and a history of fifty events.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np

from serendip.data.events.event import Event
from serendip.data.store.store import Store

_USERS, _ITEMS = 10_000, 5_000
_WARM = 5
_READS = 300


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("place", help="path of a new SQLite file, or URL of an empty database")
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--writers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    Store.create(options.place).close()
    work = [
        (options.place, number, options.batches, options.size) for number in range(options.writers)
    ]
    begin = time.perf_counter()
    with ProcessPoolExecutor(len(work), mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_append, work))
    result = _summarise(parts, options.batches * options.size)
    result["wall_s"] = round(time.perf_counter() - begin, 2)
    result |= _read(options.place)
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


def _append(work: tuple[str, int, int, int]) -> tuple[float, float, float, list[float]]:
    """Begin, end (Unix seconds), CPU-seconds and the seconds of each batch of one writer."""
    place, writer, batches, size = work
    rng = np.random.default_rng(writer)
    with closing(Store.open(place)) as store:
        for number in range(_WARM):
            store.put_events(_events(rng, f"warm-{writer}-{number}", size))
        rows = [_events(rng, f"{writer}-{number}", size) for number in range(batches)]
        seconds, begin, cpu = [], time.time(), time.process_time()
        for events in rows:
            moment = time.perf_counter()
            if store.put_events(events) != size:
                raise AssertionError("events were lost")
            seconds.append(time.perf_counter() - moment)
        return begin, time.time(), time.process_time() - cpu, seconds


def _events(rng: np.random.Generator, name: str, size: int) -> list[Event]:
    users, items = rng.integers(0, _USERS, size), rng.integers(0, _ITEMS, size)
    return [
        Event(f"user-{user}", f"item-{item}", 1.7e9 + row, "click", event_id=f"{name}-{row}")
        for row, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True))
    ]


def _summarise(parts: list[tuple[float, float, float, list[float]]], events: int) -> dict[str, Any]:
    """Events per second from the first begin to the last end."""
    span = max(part[1] for part in parts) - min(part[0] for part in parts)
    batches = np.concatenate([part[3] for part in parts])
    return {
        "events_per_s": round(len(parts) * events / span),
        "ms_per_batch": round(float(np.median(batches)) * 1e3, 2),
        "ms_per_batch_p99": round(float(np.quantile(batches, 0.99)) * 1e3, 2),
        "cpu_ms_per_batch": round(sum(part[2] for part in parts) / len(batches) * 1e3, 2),
    }


def _read(place: str) -> dict[str, Any]:
    """Microseconds of a commit watch and of a history."""
    with closing(Store.open(place)) as store:
        store.database.commit_number()
        begin = time.perf_counter()
        for _ in range(_READS):
            store.database.commit_number()
        watch = time.perf_counter() - begin
        begin = time.perf_counter()
        for number in range(_READS):
            store.log.history(f"user-{number}", 50)
        history = time.perf_counter() - begin
    return {
        "commit_watch_us": round(watch / _READS * 1e6),
        "history_us": round(history / _READS * 1e6),
    }


if __name__ == "__main__":
    main()
