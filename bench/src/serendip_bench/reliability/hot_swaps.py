"""Publishes generation after generation under load: no request fails, and memory does not grow.

Each generation is a copy of the first one, so that an answer differs in nothing but the name of its
generation: in the header and in the body it must be the same one.
"""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from serendip.engine.artefacts.generations import open_current, publish
from serendip.runtime.progress import Progress, SilentProgress
from serendip.runtime.versions import MANIFEST
from serendip_bench.latency import compute_percentiles, list_requests
from serendip_bench.reliability.breakage import close_before_opening
from serendip_bench.reliability.harness import Bar, Control, Findings
from serendip_bench.reliability.services import Breakage, beside, serve_copy
from serendip_bench.service import HttpClient

_OWN_FACTS = ("format", "name", "code_version", "previous", "files", "checksum")
_SETTLED_AFTER = 5
"""Swaps after which the memory is that of a running service."""

_LONGEST_S = 60.0
"""In which a published generation must be in force."""


@dataclass(slots=True)
class _Load:
    times: list[tuple[float, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    mixed: int = 0

    def ask(
        self, netloc: str, paths: list[str], first: int, step: int, ended: threading.Event
    ) -> None:
        number = first
        with closing(HttpClient(netloc)) as client:
            while not ended.is_set():
                begin = time.perf_counter()
                reply = client.ask("GET", paths[number % len(paths)])
                self.times.append((begin, reply.seconds * 1000))
                if reply.status != 200:
                    self.failures.append(f"{reply.status}: {reply.body[:200]!r}")
                elif reply.headers["x-generation"] != reply.json()["generation"]:
                    self.mixed += 1
                number += step


@dataclass(frozen=True, slots=True)
class HotSwaps:
    """Swaps of the published generation while requests are answered.

    Args:
        requests: at least so many, spread over the swaps.
    """

    swaps: int = 100
    requests: int = 100_000
    clients: int = 2
    control_swaps: int = 5
    workspace: Path | None = None

    def run(self, progress: Progress) -> Findings:
        """Publish, ask, measure."""
        load, windows, memory = self._swap(self.swaps, nullcontext, progress)
        broken, _, _ = self._swap(self.control_swaps, close_before_opening, SilentProgress())
        during, steady = _split(load.times, windows)
        p99 = {"during": during["p99"], "steady": steady["p99"]}
        settled = memory[min(_SETTLED_AFTER, len(memory) - 1)]
        return Findings(
            {
                "swaps": len(windows),
                "requests": len(load.times),
                "ms for 99 % between swaps": p99["steady"],
                "ms for 99 % during swaps": p99["during"],
                f"MB after {_SETTLED_AFTER} swaps": round(settled),
                "MB at the end": round(memory[-1]),
            },
            (
                Bar("requests that failed", len(load.failures), 0),
                Bar("answers that name two generations", load.mixed, 0),
                Bar("requests", len(load.times), self.requests, "at least"),
                Bar("p99 during swaps / between", round(p99["during"] / p99["steady"], 2), 2.0),
                Bar("memory at the end / settled", round(memory[-1] / settled, 3), 1.05),
            ),
            (
                Control(
                    "the old generation is closed before the new one is open", len(broken.failures)
                ),
            ),
            tuple(load.failures[:3]),
        )

    def _swap(
        self, swaps: int, broken: Breakage, progress: Progress
    ) -> tuple[_Load, list[tuple[float, float]], list[float]]:
        """The answers, the times from a publication to its first answer, the memory after each."""
        load, windows, pause = _Load(), list[tuple[float, float]](), threading.Event()
        with serve_copy(self.workspace, broken) as (workspace, service):
            routes, netloc = list_requests(service.netloc), service.netloc
            paths = [path for name in ("home", "search", "similar") for path in routes[name]]
            service.warm_up(paths[:1] + routes["search"][:1])
            memory = [service.memory_mb()]
            clients = range(self.clients)
            asking = (partial(load.ask, netloc, paths, first, self.clients) for first in clients)
            with beside(*asking):
                for number in progress.track(range(swaps), "hot swaps", swaps):
                    begin = time.perf_counter()
                    _await(netloc, publish_again(workspace))
                    windows.append((begin, time.perf_counter()))
                    memory.append(service.memory_mb())
                    while len(load.times) < (number + 1) * self.requests // self.swaps:
                        pause.wait(0.05)
        return load, windows, memory


def publish_again(workspace: Path) -> str:
    """Publish a copy of the generation in force; its name."""
    current = open_current(workspace / "generations", verify=False)
    facts = {key: value for key, value in current.manifest.items() if key not in _OWN_FACTS}

    def copy(building: Path) -> None:
        shutil.copytree(current.folder, building, dirs_exist_ok=True)
        (building / MANIFEST).unlink()

    return publish(workspace / "generations", copy, facts).name


def _await(netloc: str, generation: str) -> None:
    end, pause = time.perf_counter() + _LONGEST_S, threading.Event()
    with closing(HttpClient(netloc)) as client:
        while client.ask("GET", "/health/ready").headers.get("x-generation") != generation:
            if time.perf_counter() > end:
                raise TimeoutError(f"{generation} is not in force after {_LONGEST_S:.0f} s")
            pause.wait(0.05)


def _split(
    times: list[tuple[float, float]], windows: list[tuple[float, float]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Percentiles of milliseconds of the requests that ran during a window, and of all others."""
    during, steady = list[float](), list[float]()
    for begin, ms in times:
        end = begin + ms / 1000
        is_in = any(first <= end and begin <= last for first, last in windows)
        (during if is_in else steady).append(ms)
    return tuple(  # type: ignore[return-value]
        compute_percentiles(sorted(part or during + steady)) for part in (during, steady)
    )
