"""An executor of several workers that costs no processes: tasks run in threads of this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread
from typing import Any

from serendip.runtime.executor import LocalExecutor, run_in_order, run_when_ready


class ThreadExecutor(LocalExecutor):
    """Runs tasks in threads.

    Attributes:
        tasks: of the last call, and those of streams.
    """

    tasks: list[Any]

    def map(self, work: Any, tasks: Any) -> Iterator[Any]:
        """See ``Executor.map``."""
        self.tasks = [*tasks]
        with ThreadPoolExecutor(self.workers) as pool:
            yield from run_in_order(lambda task: pool.submit(work, task), tasks, self.workers)

    @contextmanager
    def stream(self, work: Any, task: Any, start_s: float | None = None) -> Iterator[Iterator[Any]]:
        """See ``Executor.stream``; only the first result is read here, the rest in a thread."""
        self.tasks = [*getattr(self, "tasks", []), task]
        results = work(task)
        first = next(results)
        thread = Thread(target=deque, args=(results, 0))
        thread.start()
        yield iter([first])
        thread.join()

    def as_finished(self, work: Any, tasks: Any, after: Any = None) -> Iterator[Any]:
        """See ``Executor.as_finished``."""
        self.tasks = [*tasks]
        with ThreadPoolExecutor(self.workers) as pool:
            submit = lambda task: pool.submit(work, task)  # noqa: E731
            yield from run_when_ready(submit, tasks, self.workers, after)
