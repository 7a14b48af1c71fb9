"""What a job is doing, in a file for other processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from serendip.errors import DataError
from serendip.runtime.job_status import (
    DONE,
    FAILED,
    RUNNING,
    STALE_S,
    JobStatus,
    written_status,
)


def test_a_job_says_what_it_does_and_that_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "status.json"
    with written_status(path) as progress:
        found = JobStatus.read(path)
        assert found is not None and found.state == RUNNING
        for _ in progress.track(range(2), "epochs", 2):
            found = JobStatus.read(path)
            assert found is not None and found.text.startswith("epochs: 0 of 2")
    found = JobStatus.read(path)
    assert found is not None and found.state == DONE


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DataError("3 interactions are too few."), "3 interactions are too few."),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
def test_a_job_that_fails_says_why(tmp_path: Path, error: Exception, text: str) -> None:
    with pytest.raises(type(error)), written_status(tmp_path / "status.json"):
        raise error
    found = JobStatus.read(tmp_path / "status.json")
    assert found is not None and (found.state, found.text) == (FAILED, text)


def test_a_job_that_is_interrupted_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), written_status(tmp_path / "status.json"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_running_job_that_has_said_nothing_for_a_minute_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    JobStatus(RUNNING, "fit", 1_000.0).write(path)
    assert JobStatus.read(path, 1_000.0 + STALE_S) is not None
    assert JobStatus.read(path, 1_001.0 + STALE_S) is None
    JobStatus(FAILED, "no space", 1_000.0).write(path)
    found = JobStatus.read(path, 1e9)
    assert found is not None and found.text == "no space"


@pytest.mark.parametrize("content", ["", "[]", '{"state": 1, "unknown": 2}', "{"])
def test_a_file_that_is_no_status_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "status.json").write_text(content)
    assert JobStatus.read(tmp_path / "status.json") is None
    assert JobStatus.read(tmp_path / "none.json") is None


def test_a_status_that_cannot_be_written_stops_no_job(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with written_status(tmp_path / "file" / "status.json") as progress:
        assert list(progress.track("ab", "letters", 2)) == ["a", "b"]
