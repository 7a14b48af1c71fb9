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


class LocalExecutor:
    """Up to ``workers`` fresh processes of one thread each; one worker means this process."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or min(os.cpu_count() or 1, 2)

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Results in the order of ``tasks``."""
        if self.workers == 1 or len(tasks) <= 1:
            yield from map(work, tasks)
            return
        # Fresh processes: forking a process that has started numeric threads can deadlock.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            min(self.workers, len(tasks)), context, limit_threads, (1,)
        ) as pool:
            yield from pool.map(work, tasks)
