"""What every executor does: order, errors, bounds, ends and deaths of processes."""

import os
import signal
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from serendip.errors import ConfigError, SerendipError
from serendip.runtime.executor import Executor


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def fail(number: int) -> int:
    raise ConfigError(f"task {number}", "Give another.")


def touch(path: str) -> str:
    Path(path).touch()
    return path


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


class ExecutorContract(ABC):
    """Inherited by the tests of each executor; it has two workers, in processes of their own."""

    @pytest.fixture
    @abstractmethod
    def executor(self) -> Executor: ...

    def test_results_come_in_the_order_of_the_tasks(self, executor: Executor) -> None:
        found = list(executor.map(square, [3, 1, 2]))
        assert [result for result, _ in found] == [9, 1, 4]
        assert os.getpid() not in {process for _, process in found}

    def test_no_tasks_give_no_results(self, executor: Executor) -> None:
        assert list(executor.map(square, [])) == []

    def test_an_error_of_a_task_is_raised_as_it_is(self, executor: Executor) -> None:
        with pytest.raises(ConfigError, match="task 7") as caught:
            list(executor.map(fail, [7]))
        assert caught.value.hint == "Give another."

    def test_a_bounded_number_of_tasks_runs_ahead_of_the_reader(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        paths = [str(tmp_path / f"{number:02}") for number in range(12)]
        results = executor.map(touch, paths)
        assert next(results) == paths[0]
        results.close()  # type: ignore[attr-defined]
        assert len([*tmp_path.iterdir()]) <= 2 * executor.workers
        assert list(executor.map(touch, paths[:1])) == paths[:1]  # what was cancelled is over

    def test_a_process_that_is_killed_every_time_is_named(self, executor: Executor) -> None:
        with pytest.raises(SerendipError, match="process of 9 was killed"):
            list(executor.map(die, [9]))
