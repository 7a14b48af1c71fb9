"""Events that are acknowledged per second in batches, and how long one event waits beside load.

The workspace is on the disk of temporary files, not in memory: each acknowledged write is synced.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from serendip.data.store.store import Store
from serendip.runtime.progress import Progress, SilentProgress
from serendip_bench.latency import compute_percentiles
from serendip_bench.reliability.breakage import commit_each_event
from serendip_bench.reliability.harness import Bar, Control, Findings
from serendip_bench.reliability.services import beside, copy_workspace, run_forked
from serendip_bench.reliability.workload import DATABASE
from serendip_bench.service import HttpClient

_EVENTS_PER_S, _SINGLE_MS = 10_000, 15.0
_LOAD_BATCHES_PER_S, _LOAD_READS_PER_S = 10, 20


@dataclass(frozen=True, slots=True)
class GroupCommit:
    """Throughput of acknowledged events, and latency of a single one.

    Args:
        batches: posted as fast as they are acknowledged.
        singles: events that are posted one by one beside load.
        control_batches: for the variant that commits each event by itself.
    """

    batches: int = 2_000
    batch: int = 100
    clients: int = 4
    singles: int = 2_000
    control_batches: int = 40
    workspace: Path | None = None

    def run(self, progress: Progress) -> Findings:
        """Post, count, compare with what the store has."""
        with copy_workspace(self.workspace) as workspace:
            with run_forked(workspace) as service:
                per_s, failed = self._post_batches(service.netloc, "b", self.batches, progress)
                times = self._post_singles(service.netloc, progress)
            with closing(Store.open(workspace / DATABASE)) as store:
                users = [event.user_id for event in store.log.history("batches", 10**9)]
            missing = self.batches * self.batch - len(users)
            with run_forked(workspace, commit_each_event) as service:
                silent = SilentProgress()
                slow, _ = self._post_batches(service.netloc, "c", self.control_batches, silent)
        single = compute_percentiles(sorted(times))
        return Findings(
            {
                "events in batches": self.batches * self.batch,
                "single events": len(times),
                "ms for half of the single events": single["p50"],
                "events per second, each committed by itself": round(slow),
            },
            (
                Bar("acknowledged events per second", round(per_s), _EVENTS_PER_S, "at least"),
                Bar("ms for 99 % of the single events beside load", single["p99"], _SINGLE_MS),
                Bar("batches that failed", failed, 0),
                Bar("acknowledged events that are not stored", missing, 0),
            ),
            (
                Control(
                    "each event is committed by itself", float(slow < min(_EVENTS_PER_S, per_s / 2))
                ),
            ),
        )

    def _post_batches(
        self, netloc: str, start: str, batches: int, progress: Progress
    ) -> tuple[float, int]:
        """Acknowledged events per second, and the number of batches that failed."""
        numbers = iter(progress.track(range(batches), "batches", batches))
        lock, statuses = threading.Lock(), list[int]()

        def post() -> None:
            with closing(HttpClient(netloc)) as client:
                while True:
                    with lock:
                        number = next(numbers, None)
                    if number is None:
                        return
                    body = self._body(f"{start}{number}")
                    statuses.append(client.ask("POST", "/v1/events", body).status)

        begin = time.perf_counter()
        with ThreadPoolExecutor(self.clients) as pool:
            for done in [pool.submit(post) for _ in range(self.clients)]:
                done.result()
        stored = statuses.count(200)
        return stored * self.batch / (time.perf_counter() - begin), len(statuses) - stored

    def _body(self, name: str, user: str = "batches") -> bytes:
        rows = [
            {"user_id": user, "item_id": f"sku-{place:08d}", "event_id": f"{name}-{place}"}
            for place in range(self.batch)
        ]
        return json.dumps(rows).encode()

    def _post_singles(self, netloc: str, progress: Progress) -> list[float]:
        """Milliseconds of each single event, beside batches and reads at a steady pace."""
        times: list[float] = []

        def post(client: HttpClient, number: int) -> None:
            client.ask("POST", "/v1/events", self._body(f"load{number}", "load"))

        def read(client: HttpClient, number: int) -> None:
            client.ask("GET", f"/v1/recommend?user_id=u{number % 50}&limit=20")

        load = (
            partial(_repeat, netloc, post, _LOAD_BATCHES_PER_S),
            partial(_repeat, netloc, read, _LOAD_READS_PER_S),
        )
        with beside(*load), closing(HttpClient(netloc)) as client:
            for number in progress.track(range(self.singles), "single events", self.singles):
                row = {"user_id": "single", "item_id": "sku-00000001", "event_id": f"s{number}"}
                times.append(client.post("/v1/events", row).seconds * 1000)
        return times


def _repeat(
    netloc: str, call: Callable[[HttpClient, int], Any], per_s: float, ended: threading.Event
) -> None:
    begin, number = time.perf_counter(), 0
    with closing(HttpClient(netloc)) as client:
        while not ended.wait(max(0.0, begin + number / per_s - time.perf_counter())):
            call(client, number)
            number += 1
