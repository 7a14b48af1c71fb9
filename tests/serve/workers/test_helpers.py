"""What works beside the workers: in one of them at a time, and until the service ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import children, wait_until

SCRIPT = Path(__file__).parents[1] / "tiny_server.py"


@contextmanager
def helped(folder: Path, workers: int) -> Iterator[subprocess.Popen[str]]:
    """A service that is ready, with a helper that leaves files in a folder."""
    command = [sys.executable, str(SCRIPT), "0", "--workers", str(workers)]
    process = subprocess.Popen(
        [*command, "--beside", str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert [process.stdout.readline().split()[0] for _ in "ab"] == ["listening", "ready"]
        wait_until((folder / "pid").exists, "the helper")
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_it_stops_in_order_with_the_service(tmp_path: Path, workers: int) -> None:
    with helped(tmp_path, workers) as service:
        assert int((tmp_path / "pid").read_text()) in [*children(service.pid), service.pid]
        service.send_signal(signal.SIGTERM)
        assert service.wait(60) == 0
    assert (tmp_path / "ended").exists()


def test_another_worker_takes_it_over_from_one_that_is_killed(tmp_path: Path) -> None:
    def helper() -> int:
        return int((tmp_path / "pid").read_text())

    with helped(tmp_path, 2) as service:
        first, workers = helper(), set(children(service.pid))
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: helper() != first, "the next helper")
        assert helper() in workers | set(children(service.pid))
        service.send_signal(signal.SIGTERM)
        assert service.wait(60) == 0
