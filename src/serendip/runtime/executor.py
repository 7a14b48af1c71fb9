"""Executors run a function over tasks; here what all do, and an executor of local processes.

The function is a module-level function of one plain argument, so that it can run in this process,
in another one, or, with another executor, on another machine (``ray_cluster``). A task may run more
than once, where a machine is lost; so it changes nothing but files of a folder of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Final, Literal, Self, TypeVar

from pydantic import Field, model_validator

from serendip.config import Config
from serendip.errors import SerendipError
from serendip.runtime.threads import collect_seldom, limit_threads

Task = TypeVar("Task")
Result = TypeVar("Result")


class Executor(ABC):
    """Maps a function over tasks.

    Attributes:
        name: of the engine, for records of what ran where.
        workers: number of processes; with one, work that could run beside this process runs in it.
    """

    name: str
    workers: int

    @abstractmethod
    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Results in the order of ``tasks``; the first error is raised.

        At most two tasks per worker run or have a result that was not read, which bounds memory.
        Closing the iterator starts nothing new.

        Raises:
            SerendipError: a process was killed.
        """


# Settings of glibc's malloc: large freed arrays are returned to the system at once, as several
# processes share the memory of a machine. Up to 256 MB of smaller blocks are retained: a training
# step frees and allocates the same blocks again and again, and without this spends a third of its
# CPU time in the kernel.
_MALLOC_SETTINGS = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}


class LocalExecutor(Executor):
    """Runs tasks in up to ``workers`` processes of one thread each.

    Every task runs in a new process, so that its memory is freed at its end. With one worker,
    ``map`` runs in the current process.
    """

    name = "local"

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or (2 if may_start_process() and count_cores() > 1 else 1)

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """See ``Executor.map``."""
        if self.workers == 1:
            yield from map(work, tasks)
            return
        left, pending = iter(tasks), deque[Future[Result]]()
        with ThreadPoolExecutor(self.workers) as threads:  # each waits for a process
            try:
                while True:
                    for task in islice(left, 2 * self.workers - len(pending)):
                        pending.append(threads.submit(run_in_process, work, task))
                    if not pending:
                        return
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()


IN_PROCESS: Final[Executor] = LocalExecutor(1)  # what need not run in a process of its own does not


def count_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def may_start_process() -> bool:
    """False in a process that ends with its parent: Python allows it no children."""
    return not multiprocessing.current_process().daemon


@contextmanager
def blocked_interrupts() -> Iterator[None]:
    """Start processes that never see Ctrl-C: they inherit the mask of this thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_in_process(work: Callable[[Task], Result], task: Task) -> Result:
    """Run one task in a new process."""
    with _open_pool(1) as pool:
        try:
            return pool.submit(work, task).result()
        except BrokenProcessPool:
            raise killed(str(task)) from None


def killed(name: str) -> SerendipError:
    """The error about a process that ended without a result."""
    return SerendipError(
        f"the process of {name} was killed.",
        "It probably ran out of memory: free some and run the command again.",
    )


def set_malloc() -> None:
    """Settings of malloc for the processes that are started from now on."""
    os.environ.update(
        {name: os.environ.get(name, value) for name, value in _MALLOC_SETTINGS.items()}
    )


def _open_pool(workers: int) -> ProcessPoolExecutor:
    # Forking a process with numeric threads can deadlock.
    set_malloc()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, _initialise, max_tasks_per_child=1)


def _initialise() -> None:
    limit_threads(1)
    collect_seldom()
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """Wait for the end of the parent process, then exit."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


EngineName = Literal["local", "ray"]


class ExecutorConfig(Config):
    """``[engine]``: where jobs run. Results do not depend on it."""

    name: EngineName = "local"
    """`local` = processes of this machine; `ray` = a Ray cluster, with the extra `ray`."""

    workers: int | None = Field(default=None, ge=1)
    """Largest number of processes at once. None = two where this machine has two cores, and with
    `ray` one for each core of the cluster."""

    address: str = ""
    """With `ray`: address of the cluster, `auto` on one of its machines or `HOST:6379`. All
    machines see the workspace under the same path. Ray's client (`ray://`) is not supported: run
    the command on a machine of the cluster, or as a Ray job. Empty = a cluster of this machine
    alone, which nobody else reaches, for as long as the command runs."""

    @model_validator(mode="after")
    def _only_clusters_have_addresses(self) -> Self:
        if self.name == "local" and self.address:
            raise ValueError('`address` is for `name = "ray"`')
        return self
