from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from multiprocessing.util import Finalize
from pathlib import Path

import pytest
from executor_contract import ExecutorContract

from serendip.errors import ConfigError
from serendip.runtime.executor import IN_PROCESS, Executor, LocalExecutor
from serendip.runtime.threads import limit_threads, num_threads
from serendip.runtime.timing import StageClock


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def fail(number: int) -> int:
    raise ValueError(f"task {number}")


class TestLocalExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self) -> Executor:
        return LocalExecutor(2)


def test_one_worker_is_this_process() -> None:
    found = list(IN_PROCESS.map(square, [3, 1, 2]))
    assert [result for result, _ in found] == [9, 1, 4]
    assert {process for _, process in found} == {os.getpid()}
    with pytest.raises(ValueError, match="task 7"):
        list(IN_PROCESS.map(fail, [7]))


def test_every_task_has_a_process_of_its_own() -> None:
    found = list(LocalExecutor(2).as_finished(square, [3, 1, 2]))
    assert {result for result, _ in found} == {9, 1, 4}
    assert len({os.getpid(), *(process for _, process in found)}) == 4


def test_after_an_error_nothing_new_starts_and_what_ran_is_not_lost() -> None:
    executor, found = LocalExecutor(1), []
    with pytest.raises(ValueError, match="task 7"):
        found += executor.as_finished(fail, [7, 8])
    assert found == []


def count_up(limit: int) -> Generator[tuple[int, int]]:
    for number in range(limit):
        yield number, os.getpid()


def fail_second(number: int) -> Generator[int]:
    yield number
    raise ConfigError(f"task {number}", "Give another.")


def wait_after_first(folder: str) -> Generator[int]:
    yield os.getpid()
    Path(folder, "waits").touch()
    threading.Event().wait(600)


def test_with_one_worker_a_stream_goes_on_whenever_a_result_is_read() -> None:
    with IN_PROCESS.stream(count_up, 3) as results:
        assert list(results) == [(number, os.getpid()) for number in range(3)]
    with IN_PROCESS.stream(fail_second, 7) as results:
        assert next(results) == 7
        with pytest.raises(ConfigError, match="task 7"):
            next(results)


def count_and_clean_up(folder: str) -> Generator[int]:
    Finalize(None, clean_up, [folder], exitpriority=0)
    yield 1


def clean_up(folder: str) -> None:
    sum(range(10_000_000))  # takes longer than the parent does
    Path(folder, "clean").touch()


def test_a_stream_that_was_read_cleans_up(tmp_path: Path) -> None:
    with LocalExecutor(2).stream(count_and_clean_up, str(tmp_path)) as results:
        assert list(results) == [1]
    assert (tmp_path / "clean").exists()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_stream_that_is_left_has_ended(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        LocalExecutor(2).stream(wait_after_first, str(tmp_path)) as results,
    ):
        process = str(next(results))
        while not (tmp_path / "waits").exists():
            assert is_running(process)
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert not is_running(process)


_PARENT = """
import os, time
from serendip.runtime.executor import IN_PROCESS, Executor, LocalExecutor

def work(name):
    with open(name, "w") as stream:
        stream.write(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    list(LocalExecutor(2).as_finished(work, [os.environ["NOTE"]]))
"""

_STREAM = """
import os, signal, time
from serendip.runtime.executor import IN_PROCESS, Executor, LocalExecutor

def work(name):
    with open(name, "w") as stream:
        stream.write(str(os.getpid()))
    time.sleep(600)
    yield 1

if __name__ == "__main__":
    # A shell's background jobs ignore Ctrl-C, and their children with them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with LocalExecutor(2).stream(work, os.environ["NOTE"]) as results:
        list(results)
"""


def is_running(pid: str) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path("/proc", pid, "stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("text", "number"),
    [(_PARENT, signal.SIGKILL), (_STREAM, signal.SIGKILL), (_STREAM, signal.SIGINT)],
)
def test_nothing_goes_on_where_the_parent_is_killed(
    tmp_path: Path, text: str, number: signal.Signals
) -> None:
    script, pid_file = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(text)
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "NOTE": str(pid_file)},
        stderr=subprocess.DEVNULL,
    )
    while not (pid_file.exists() and pid_file.read_text()):
        assert parent.poll() is None
        time.sleep(0.01)
    parent.send_signal(number)
    parent.wait()
    deadline = time.monotonic() + 20
    while is_running(pid_file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_stage_is_measured_and_told() -> None:
    told = []
    clock = StageClock(told.append)
    with clock.stage("counting"):
        sum(range(10_000))
    assert told == clock.stages
    assert clock.stages[0].name == "counting"
    assert clock.stages[0].wall_s >= 0
    assert clock.stages[0].peak_mb > 1
    assert clock.as_dicts()[0]["name"] == "counting"


def test_a_stage_that_fails_is_not_recorded() -> None:
    clock = StageClock()
    with pytest.raises(ValueError, match="no"), clock.stage("broken"):
        raise ValueError("no")
    assert clock.stages == []


def test_threads_are_limited_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    assert limit_threads() == 7 == num_threads()
    assert limit_threads(1) == 1 == num_threads()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"


def test_a_limit_that_comes_after_numpy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    for name in names:
        monkeypatch.setenv(name, "")
    with pytest.warns(RuntimeWarning, match="OMP_NUM_THREADS=1"):
        limit_threads(1)
