"""Asks a service for a multiple of what it can compute: whom it accepts, it answers in time.

Until a queue has been full for a moment it may be a burst, which is computed: those few dozen
requests at the beginning wait for longer, and must be fewer than one of a hundred. So the
overload has to last.

The measurement is that of ``scripts/overload.py``.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serendip.runtime.progress import Progress
from serendip_bench.reliability.breakage import compute_everything
from serendip_bench.reliability.harness import Bar, Control, Findings
from serendip_bench.reliability.services import Breakage, serve_copy
from serendip_bench.scripts.overload import measure

_P99, _GOODPUT, _MEMORY, _HEALTH_MS = 3.0, 0.8, 1.25, 1_000.0
_EXPECTED = {"200", "429"}


@dataclass(frozen=True, slots=True)
class Overload:
    """More requests per second than can be computed.

    Args:
        seconds: of the overload; of its two preparations together half as many.
        times: requests per second, as a multiple of what can be answered.
        control_seconds: of the negative control.
        seed: of the moments and requests.
        workspace: see ``copy_workspace``.
    """

    seconds: float = 60.0
    times: float = 4.0
    control_seconds: float = 15.0
    seed: int = 1
    workspace: Path | None = None

    def run(self, progress: Progress) -> Findings:
        """Measure the product, then the variant without bounds."""
        with progress.step("overload"):
            told = self._measure(self.seconds, nullcontext)
        broken = self._measure(self.control_seconds, compute_everything)
        overload, memory = told["overload"], told["memory_mb"]
        others = sum(
            share for status, share in overload["shares"].items() if status not in _EXPECTED
        )
        return Findings(
            {
                "requests per second that it can answer": told["capacity"]["answered_per_s"],
                "asked per second": overload["asked_per_s"],
                "share accepted": overload["shares"].get("200", 0.0),
                "ms for 99 % unloaded": told["unloaded"]["ms"]["p99"],
                "ms for 99 % of the accepted": overload["ms"]["p99"],
                "ms for 99 % of the accepted without bounds": broken["overload"]["ms"]["p99"],
            },
            (
                Bar("p99 of the accepted / unloaded", told["p99_of_unloaded"], _P99),
                Bar("answered / capacity", told["goodput_of_capacity"], _GOODPUT, "at least"),
                Bar("share of other answers than 200 and 429", others, 0),
                Bar("429 without Retry-After", overload["refused_without_retry_after"], 0),
                Bar("ms for 99 % of the health checks", told["health_ms"]["p99"], _HEALTH_MS),
                Bar("most memory / before", round(memory["most"] / memory["before"], 2), _MEMORY),
            ),
            (Control("everything is computed", broken["p99_of_unloaded"], _P99),),
        )

    def _measure(self, seconds: float, broken: Breakage) -> dict[str, Any]:
        warm = ["/v1/search?q=a", "/v1/recommend?user_id=u1"]
        with serve_copy(self.workspace, broken, warm) as (_, service):
            call = measure(service.netloc, service.pid, seconds, self.times, self.seed)
            return asyncio.run(call)
