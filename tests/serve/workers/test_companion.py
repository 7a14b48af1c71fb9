"""A companion of the workers: it runs where it is wanted and ends with the service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from processes import children, is_free, is_running, wait_until

SCRIPT = Path(__file__).parents[1] / "tiny_server.py"


class Accompanied:
    """A service of two workers, in a process of its own, and the folder of its companion."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, str(SCRIPT), "0", "--workers", "2", "--companion", str(folder)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        self.port = urlsplit(self.process.stdout.readline().split()[1]).port or 0
        assert self.process.stdout.readline().startswith("ready")

    def companion(self) -> int:
        """Its process, once it runs."""
        path = self.folder / "pid"
        wait_until(path.exists, "the companion")
        return int(path.read_text())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def accompanied(folder: Path, is_wanted: bool = True) -> Iterator[Accompanied]:
    if is_wanted:
        (folder / "wanted").touch()
    service = Accompanied(folder)
    try:
        yield service
    finally:
        service.close()


def test_it_ends_in_order_with_the_service(tmp_path: Path) -> None:
    with accompanied(tmp_path) as service:
        companion = service.companion()
        assert companion in children(service.process.pid)
        assert len(children(service.process.pid)) == 3
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
        assert (tmp_path / "ended").exists()
        assert not is_running(companion)


def test_it_ends_in_order_where_the_supervisor_is_killed_and_keeps_no_port(tmp_path: Path) -> None:
    with accompanied(tmp_path) as service:
        companion = service.companion()
        processes = set(children(service.process.pid))
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait()
        wait_until(lambda: not any(map(is_running, processes)), "the end of all")
        assert companion in processes
        assert (tmp_path / "ended").exists()
        assert is_free(service.port)


def test_one_that_is_killed_starts_again(tmp_path: Path) -> None:
    with accompanied(tmp_path) as service:
        before = service.companion()
        (tmp_path / "pid").unlink()
        os.kill(before, signal.SIGKILL)
        assert service.companion() != before
        assert service.process.poll() is None


def test_sighup_starts_one_that_is_wanted_now_and_leaves_one_that_runs(tmp_path: Path) -> None:
    with accompanied(tmp_path, is_wanted=False) as service:
        assert len(children(service.process.pid)) == 2
        (tmp_path / "wanted").touch()
        service.process.send_signal(signal.SIGHUP)
        companion = service.companion()
        workers = set(children(service.process.pid)) - {companion}
        service.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: not workers & set(children(service.process.pid)), "the end of all old workers"
        )
        assert is_running(companion)
        assert int((tmp_path / "pid").read_text()) == companion
