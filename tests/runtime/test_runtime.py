import os

import pytest
from executor_contract import ExecutorContract

from serendip.runtime.executor import Executor, LocalExecutor
from serendip.runtime.progress import StageClock
from serendip.runtime.threads import limit_threads, num_threads


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


class TestLocalExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self) -> Executor:
        return LocalExecutor(2)


def test_every_task_has_a_process_of_its_own() -> None:
    found = list(LocalExecutor(2).map(square, [3, 1, 2]))
    assert {result for result, _ in found} == {9, 1, 4}
    assert len({os.getpid(), *(process for _, process in found)}) == 4


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


def test_threads_are_limited_in_one_place_and_too_late_a_limit_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    assert limit_threads() == 7 == num_threads()
    assert limit_threads(1) == 1 == num_threads()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"

    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    for name in names:
        monkeypatch.setenv(name, "")
    with pytest.warns(RuntimeWarning, match="OMP_NUM_THREADS=1"):
        limit_threads(1)
