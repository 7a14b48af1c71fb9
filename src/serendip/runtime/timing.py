"""Measures the stages of a job, wall and CPU seconds and peak memory, and shows the running one."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from serendip.runtime.progress import Progress, SilentProgress


@dataclass(frozen=True, slots=True)
class StageCost:
    """Cost of a stage.

    Args:
        cpu_s: CPU seconds of this process and of children that have ended.
        peak_mb: peak resident memory of this process or of a child so far, in MB.
    """

    name: str
    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass(slots=True)
class StageClock:
    """Measures stages."""

    on_end: Callable[[StageCost], None] = lambda stage: None
    progress: Progress = field(default_factory=SilentProgress)
    stages: list[StageCost] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the body of a ``with`` block; a stage that fails is not recorded."""
        wall, cpu = time.perf_counter(), _cpu_seconds()
        with self.progress.step(name):
            yield
        stage = StageCost(
            name,
            round(time.perf_counter() - wall, 3),
            round(_cpu_seconds() - cpu, 3),
            round(peak_memory_mb(), 1),
        )
        self.stages.append(stage)
        self.on_end(stage)

    def as_dicts(self) -> list[dict[str, object]]:
        """The stages as dictionaries, for JSON."""
        return [asdict(stage) for stage in self.stages]


def peak_memory_mb() -> float:
    """Peak resident memory so far of this process or of one of its ended children."""
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(process, children) / 1024


def _cpu_seconds() -> float:
    usages = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
