"""Where work runs: one protocol, here its local form.

Work is a module-level function of one plain argument, so that it can run in this process, in
another one, or (in the Ray form of the same protocol) on another machine.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Protocol, TypeVar

from serendip.scale.threads import limit_threads

Task = TypeVar("Task")
Result = TypeVar("Result")


class Executor(Protocol):
    """Something that maps a function over tasks."""

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Results in the order of ``tasks``; the first error ends it."""
        ...


_FRUGAL = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    "MALLOC_TRIM_THRESHOLD_": "1048576",
}
"""Makes glibc give freed arrays back at once; several processes share one machine's memory."""


class LocalExecutor:
    """Up to ``workers`` processes of one thread each; one worker means this process.

    Every task gets a process of its own, so that what a task leaves behind is gone with it.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or min(os.cpu_count() or 1, 2)

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Results in the order of ``tasks``."""
        if self.workers == 1:
            yield from map(work, tasks)
            return
        os.environ.update({name: os.environ.get(name, value) for name, value in _FRUGAL.items()})
        # Fresh processes: forking a process that has started numeric threads can deadlock.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            max(1, min(self.workers, len(tasks))),
            context,
            limit_threads,
            (1,),
            max_tasks_per_child=1,
        ) as pool:
            yield from pool.map(work, tasks)
