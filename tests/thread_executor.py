"""An executor of several workers that costs no processes: tasks run in threads of this one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from serendip.runtime.executor import LocalExecutor, run_in_order, run_when_ready


class ThreadExecutor(LocalExecutor):
    """Runs tasks in threads.

    Attributes:
        tasks: of the last call.
    """

    tasks: list[Any]

    def map(self, work: Any, tasks: Any) -> Iterator[Any]:
        """See ``Executor.map``."""
        self.tasks = [*tasks]
        with ThreadPoolExecutor(self.workers) as pool:
            yield from run_in_order(lambda task: pool.submit(work, task), tasks, self.workers)

    def as_finished(self, work: Any, tasks: Any, after: Any = None) -> Iterator[Any]:
        """See ``Executor.as_finished``."""
        self.tasks = [*tasks]
        with ThreadPoolExecutor(self.workers) as pool:
            submit = lambda task: pool.submit(work, task)  # noqa: E731
            yield from run_when_ready(submit, tasks, self.workers, after)
