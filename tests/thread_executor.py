"""An executor of several workers that costs no processes: tasks run in threads of this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from serendip.runtime.executor import LocalExecutor


class ThreadExecutor(LocalExecutor):
    """Runs tasks in threads.

    Attributes:
        tasks: of the last call.
    """

    tasks: list[Any]

    @contextmanager
    def _starting(self, work: Any) -> Iterator[Callable[[Any], Future[Any]]]:
        self.tasks = []

        def submit(task: Any) -> Future[Any]:
            self.tasks.append(task)
            return pool.submit(work, task)

        with ThreadPoolExecutor(self.workers) as pool:
            yield submit
