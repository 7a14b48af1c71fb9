"""What every executor does: order, errors, bounds, ends and deaths of processes."""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Generator
from pathlib import Path

import pytest
from processes import is_running, wait_until

from serendip.errors import ConfigError, SerendipError
from serendip.runtime.executor import Executor


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def fail(number: int) -> int:
    raise ConfigError(f"task {number}", "Give another.")


def note(task: tuple[str, str]) -> str:
    """Write the names that were there before, then one's own."""
    folder, name = task
    there = sorted(os.listdir(folder))
    Path(folder, name).touch()
    return f"{name} after {there}"


def touch(path: str) -> str:
    Path(path).touch()
    return path


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def count_up(limit: int) -> Generator[tuple[int, int]]:
    for number in range(limit):
        yield number, os.getpid()


def fail_second(number: int) -> Generator[int]:
    yield number
    raise ConfigError(f"task {number}", "Give another.")


def die_second(number: int) -> Generator[int]:
    yield number
    os.kill(os.getpid(), signal.SIGKILL)


def wait_after_first(folder: str) -> Generator[int]:
    yield os.getpid()
    Path(folder, "waits").touch()
    signal.pause()


def wait_before_first(name: str) -> Generator[str]:
    signal.pause()
    yield name


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
        assert list(executor.as_finished(square, [])) == []

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

    def test_a_task_starts_after_those_it_needs(self, executor: Executor, tmp_path: Path) -> None:
        tasks = [(str(tmp_path), name) for name in "abc"]
        found = list(executor.as_finished(note, tasks, {0: [1, 2], 1: [2]}))
        assert found == ["c after []", "b after ['c']", "a after ['b', 'c']"]

    def test_a_process_that_is_killed_every_time_is_named(self, executor: Executor) -> None:
        with pytest.raises(SerendipError, match="process of 9 was killed"):
            list(executor.map(die, [9]))

    def test_results_of_one_task_come_one_after_the_other(self, executor: Executor) -> None:
        with executor.stream(count_up, 30) as results:
            found = list(results)
        assert [number for number, _ in found] == [*range(30)]
        assert len({process for _, process in found} - {os.getpid()}) == 1

    def test_an_error_of_a_stream_comes_after_its_results(self, executor: Executor) -> None:
        with executor.stream(fail_second, 7) as results:
            assert next(results) == 7
            with pytest.raises(ConfigError, match="task 7") as caught:
                next(results)
        assert caught.value.hint == "Give another."

    def test_a_stream_that_is_killed_every_time_says_so(self, executor: Executor) -> None:
        with (
            executor.stream(die_second, 9) as results,
            pytest.raises(SerendipError, match="process of 9 was killed"),
        ):
            list(results)

    def test_a_first_result_is_waited_for_as_long_as_was_said(self, executor: Executor) -> None:
        with (
            executor.stream(wait_before_first, "a helper", 0.2) as results,
            pytest.raises(SerendipError, match=r"a helper did not begin within 0\.2 s"),
        ):
            next(results)
        with executor.stream(count_up, 2, 600) as results:
            assert [number for number, _ in results] == [0, 1]

    @pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
    def test_a_stream_that_is_left_has_ended(self, executor: Executor, tmp_path: Path) -> None:
        with (
            pytest.raises(KeyboardInterrupt),
            executor.stream(wait_after_first, str(tmp_path)) as results,
        ):
            process = next(results)
            wait_until((tmp_path / "waits").exists, "the task waits")
            raise KeyboardInterrupt
        wait_until(lambda: not is_running(process), "its end")
