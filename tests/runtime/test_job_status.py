"""The file that says how far a job is."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest

from serendip.errors import DataError
from serendip.runtime.job_status import (
    DONE,
    FAILED,
    RUNNING,
    STALE_S,
    FileProgress,
    JobStatus,
    PartsStatus,
)

PLAN = (("fit", 60.0), ("fit", 30.0), ("report", 10.0))


class Job:
    """Progress in a file, under a clock that the test moves."""

    def __init__(self, path: Path, plan: Sequence[tuple[str, float]] = PLAN) -> None:
        self.path, self.now = path, 0.0
        self.progress = FileProgress(path, plan, lambda: self.now, wake_s=None)

    def share(self) -> float:
        self.now += 1.0
        self.progress.tick()
        status = JobStatus.read(self.path)
        assert status is not None
        assert status.state == RUNNING
        return status.share


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "reports" / "status.json")


def test_shares_follow_the_plan_and_the_loops_inside_its_steps(job: Job) -> None:
    shares = []
    with job.progress.step("all"):
        shares.append(job.share())
        with job.progress.step("fit"):
            shares += [job.share() for _ in job.progress.track("abcd", "epochs", 4)]
        shares.append(job.share())
        with job.progress.step("fit"), job.progress.step("in another process", lambda: 0.5):
            shares.append(job.share())
        with job.progress.step("not planned"):
            shares.append(job.share())
        with job.progress.step("report"):
            shares.append(job.share())
    assert shares == pytest.approx([0.0, 0.0, 0.15, 0.30, 0.45, 0.60, 0.75, 0.90, 0.90])


def test_the_time_left_is_that_of_the_whole_job(job: Job) -> None:
    with job.progress.step("fit"):
        for _ in job.progress.track("ab", "epochs", 2):
            job.now += 29.0
            job.share()
        status = JobStatus.read(job.path)
    assert status is not None
    assert (status.share, status.text) == (0.30, "epochs")
    assert status.left_s == pytest.approx(140.0)  # 60 seconds were 30 %


def test_a_share_never_falls(job: Job) -> None:
    with job.progress.step("fit"):
        assert [job.share() for _ in job.progress.track("ab", "first", 2)] == [0.0, 0.30]
        assert [job.share() for _ in job.progress.track("ab", "second", 2)] == [0.30, 0.30]


def test_without_a_plan_the_share_is_that_of_the_outermost_loop(tmp_path: Path) -> None:
    job = Job(tmp_path / "status.json", ())
    shares = [
        job.share()
        for _ in job.progress.track("ab", "outer", 2)
        for _ in job.progress.track("abc", "inner", 3)
    ]
    assert shares == [0.0, 0.0, 0.0, 0.5, 0.5, 0.5]


def test_a_process_that_gets_the_progress_begins_at_the_start(job: Job) -> None:
    with job.progress.step("fit"):
        there = copy.deepcopy(job.progress)  # as pickling does
        job.now = 5.0
    with there.step("report"):
        status = JobStatus.read(job.path)
    assert status is not None
    assert (status.share, status.text) == (0.0, "report")


def test_the_end_of_a_job_is_written_with_its_reason(job: Job) -> None:
    with job.progress.job(), job.progress.step("fit"):
        assert JobStatus.read(job.path).state == RUNNING
    assert JobStatus.read(job.path).state == DONE
    with pytest.raises(DataError), job.progress.job():
        raise DataError("3 interactions are too few.", "Collect more.")
    assert JobStatus.read(job.path).state == FAILED
    assert JobStatus.read(job.path).text == "3 interactions are too few."
    with pytest.raises(ZeroDivisionError), job.progress.job():
        raise ZeroDivisionError("by zero")
    assert JobStatus.read(job.path).text == "ZeroDivisionError: by zero"


def test_a_job_that_is_interrupted_has_not_failed(job: Job) -> None:
    with pytest.raises(KeyboardInterrupt), job.progress.job(), job.progress.step("fit"):
        raise KeyboardInterrupt
    assert not job.path.exists()


def test_a_job_that_was_killed_is_not_running(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    JobStatus(RUNNING, 0.5, 10.0, "fit", 1_000.0).write(path)
    assert JobStatus.read(path, 1_000.0 + STALE_S) is not None
    assert JobStatus.read(path, 1_001.0 + STALE_S) is None
    JobStatus(FAILED, 0.5, None, "no space", 1_000.0).write(path)
    assert JobStatus.read(path, 1e9).text == "no space"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "running"', '{"mood": 1}', "null"])
def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "status.json"
    path.write_text(text)
    assert JobStatus.read(path) is None
    assert JobStatus.read(tmp_path / "none.json") is None


def test_a_place_that_cannot_be_written_stops_no_job(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    progress = FileProgress(tmp_path / "file" / "status.json", PLAN, wake_s=None)
    with progress.job():
        assert list(progress.track("ab", "letters", 2)) == ["a", "b"]


def test_parts_of_a_job_count_alike(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    parts = PartsStatus(paths)
    assert (parts.share(), parts.note()) == (0.0, "")
    JobStatus(RUNNING, 0.5, None, "fit").write(paths[0])
    JobStatus(DONE, 1.0).write(paths[2])
    assert (parts.share(), parts.note()) == (0.5, "(fit)")
