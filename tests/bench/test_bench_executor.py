"""Tasks start after those that they need, and none starts after an error."""

import os
from pathlib import Path

import pytest

from serendip_bench.bench_executor import BenchExecutor


def note(task: tuple[str, str]) -> str:
    """Write the names that were there before, then one's own."""
    folder, name = task
    there = sorted(os.listdir(folder))
    Path(folder, name).touch()
    return f"{name} after {there}"


def fail(number: int) -> int:
    raise ValueError(f"task {number}")


def test_a_task_starts_after_those_it_needs(tmp_path: Path) -> None:
    tasks = [(str(tmp_path), name) for name in "abc"]
    found = list(BenchExecutor(2).as_finished(note, tasks, {0: [1, 2], 1: [2]}))
    assert found == ["c after []", "b after ['c']", "a after ['b', 'c']"]


def test_after_an_error_nothing_new_starts() -> None:
    executor, found = BenchExecutor(1), list[int]()
    with pytest.raises(ValueError, match="task 7"):
        found += executor.as_finished(fail, [7, 8])
    assert found == []
