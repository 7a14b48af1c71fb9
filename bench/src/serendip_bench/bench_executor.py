"""An executor whose tasks may need others, in local processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from serendip.runtime.executor import LocalExecutor, run_in_process

Task = TypeVar("Task")
Result = TypeVar("Result")


class BenchExecutor(LocalExecutor):
    """Runs tasks, each in a process of its own, once those that it needs are finished."""

    def as_finished(
        self,
        work: Callable[[Task], Result],
        tasks: Sequence[Task],
        after: Mapping[int, Collection[int]] | None = None,
    ) -> Iterator[Result]:
        """Results in the order of completion, each by a separate process.

        Tasks that are ready start in their order.

        Args:
            work: a module-level function.
            tasks: its arguments.
            after: index of a task -> indices of the tasks that must be finished before it starts.

        Raises:
            SerendipError: a process was killed. After an error no new task is started; the error is
                raised after the results of the running tasks.
        """
        with ThreadPoolExecutor(self.workers) as threads:  # each waits for a process

            def submit(task: Task) -> Future[Result]:
                return threads.submit(run_in_process, work, task)

            yield from _run_when_ready(submit, tasks, self.workers, after or {})


def _run_when_ready(
    submit: Callable[[Task], Future[Result]],
    tasks: Sequence[Task],
    workers: int,
    after: Mapping[int, Collection[int]],
) -> Iterator[Result]:
    """Results in the order of completion; see ``BenchExecutor.as_finished``."""
    needs = {index: set(after.get(index, ())) for index in range(len(tasks))}
    running: dict[Future[Result], int] = {}
    error: BaseException | None = None
    try:
        while True:
            ready = [index for index, missing in needs.items() if not missing and not error]
            for index in ready[: workers - len(running)]:
                del needs[index]
                running[submit(tasks[index])] = index
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                index = running.pop(future)
                if future.exception():
                    error = error or future.exception()
                    continue
                for missing in needs.values():
                    missing.discard(index)
                yield future.result()
    finally:
        for future in running:
            future.cancel()
    if error:
        raise error
