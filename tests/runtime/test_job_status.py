from pathlib import Path

import pytest

from serendip.runtime.progress import JobStatus, written_status


@pytest.mark.parametrize("error", [None, ZeroDivisionError, KeyboardInterrupt])
def test_a_job_says_what_it_does_until_it_ends(
    tmp_path: Path, error: type[BaseException] | None
) -> None:
    path = tmp_path / "training" / "status.json"

    def work() -> None:
        with written_status(path) as progress:
            assert path.exists()
            for _ in progress.track(range(2), "epochs", 2):
                assert JobStatus.read(path).text.startswith("epochs: 0 of 2")
            if error:
                raise error

    if error:
        with pytest.raises(error):
            work()
    else:
        work()
    assert not list(path.parent.iterdir())


def test_a_status_that_cannot_be_written_stops_no_job(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with written_status(tmp_path / "file" / "status.json") as progress:
        assert list(progress.track("ab", "letters", 2)) == ["a", "b"]
