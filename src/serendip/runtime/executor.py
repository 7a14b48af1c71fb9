"""Where work runs: one protocol, here its local form.

Work is a module-level function of one plain argument, so that it can run in this process, in
another one, or (in the Ray form of the same protocol) on another machine.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from serendip.errors import SerendipError
from serendip.runtime.threads import limit_threads

Task = TypeVar("Task")
Result = TypeVar("Result")


class Executor(Protocol):
    """Something that maps a function over tasks."""

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Results in the order of ``tasks``; the first error ends it."""
        ...

    def as_finished(
        self,
        work: Callable[[Task], Result],
        tasks: Sequence[Task],
        after: Mapping[int, Collection[int]] | None = None,
    ) -> Iterator[Result]:
        """Results as they come, each from a process of its own.

        Args:
            work: a module-level function.
            tasks: its arguments.
            after: place of a task -> places of those that must be finished before it starts.

        Raises:
            SerendipError: a process was ended from outside. Any error is raised after the results
                of what was running beside it; nothing new is started.
        """
        ...


_FRUGAL = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}
"""Makes glibc give large freed arrays back at once, as several processes share one machine's
memory, and keep up to 256 MB of others: a training step frees and asks for the same again, and
pages that come and go cost it a third of its CPU-seconds in the kernel."""


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
        with _pool(max(1, min(self.workers, len(tasks)))) as pool:
            yield from pool.map(work, tasks)

    def as_finished(
        self,
        work: Callable[[Task], Result],
        tasks: Sequence[Task],
        after: Mapping[int, Collection[int]] | None = None,
    ) -> Iterator[Result]:
        """See ``Executor.as_finished``; tasks that are ready start in their order."""
        needs = {place: set((after or {}).get(place, ())) for place in range(len(tasks))}
        running: dict[Future[Result], int] = {}
        error: BaseException | None = None
        with ThreadPoolExecutor(self.workers) as threads:
            while True:
                ready = [place for place, missing in needs.items() if not missing and not error]
                for place in ready[: self.workers - len(running)]:
                    del needs[place]
                    running[threads.submit(_in_own_process, work, tasks[place])] = place
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    place = running.pop(future)
                    if future.exception():
                        error = error or future.exception()
                        continue
                    for missing in needs.values():
                        missing.discard(place)
                    yield future.result()
        if error:
            raise error


def _in_own_process(work: Callable[[Task], Result], task: Task) -> Result:
    with _pool(1) as pool:
        try:
            return pool.submit(work, task).result()
        except BrokenProcessPool:
            raise SerendipError(
                f"the process of {task} was ended from outside.",
                "Most likely memory ran out: free some and run it again.",
            ) from None


def _pool(workers: int) -> ProcessPoolExecutor:
    """Fresh processes: forking a process that has started numeric threads can deadlock."""
    os.environ.update({name: os.environ.get(name, value) for name, value in _FRUGAL.items()})
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, _set_up, max_tasks_per_child=1)


def _set_up() -> None:
    """One thread for numbers; and where the parent is killed, nothing goes on without it."""
    limit_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
