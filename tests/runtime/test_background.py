import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serendip.runtime.background import BackgroundProcess
from serendip.runtime.executor import LocalExecutor


def write_priority(path: str) -> None:
    Path(path).write_text(str(os.nice(0)))


def wait_for_the_end(path: str) -> None:
    """Say that it runs, wait for ever, and say that it was ended in order."""
    started, ended = Path(path, "started"), Path(path, "ended")
    try:
        started.touch()
        threading.Event().wait(600)
    finally:
        ended.touch()


class Dropped:
    """Waits in its finaliser, where Python drops exceptions."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __del__(self) -> None:
        Path(self.folder, "started").touch()
        threading.Event().wait(600)


def wait_in_a_finaliser(folder: str) -> None:
    try:
        Dropped(folder)
        threading.Event().wait(600)
    finally:
        Path(folder, "ended").touch()


def wait_until(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.01)


def test_it_runs_at_the_lowest_priority_and_starts_no_processes(tmp_path: Path) -> None:
    path = tmp_path / "priority"
    assert BackgroundProcess(write_priority, str(path)).run() == 0
    assert path.read_text() == "19"
    assert os.nice(0) < 19
    path = tmp_path / "workers"
    assert BackgroundProcess(write_workers, str(path)).run() == 0
    assert path.read_text() == "1"


def write_workers(path: str) -> None:
    Path(path).write_text(str(LocalExecutor().workers))


@pytest.mark.parametrize("work", [wait_for_the_end, wait_in_a_finaliser])
def test_stop_leaves_its_with_blocks(tmp_path: Path, work: Callable[[str], None]) -> None:
    process = BackgroundProcess(work, str(tmp_path))
    codes: list[int] = []
    waiting = threading.Thread(target=lambda: codes.append(process.run()))
    waiting.start()
    wait_until(tmp_path / "started")
    process.stop()
    waiting.join(60)
    assert (tmp_path / "ended").exists()
    assert codes == [128 + signal.SIGTERM]
    assert process.is_stopped


_PARENT = """
import os, signal, threading
from pathlib import Path
from serendip.runtime.background import BackgroundProcess

def work(folder):
    Path(folder, "pid").write_text(str(os.getpid()))
    Path(folder, "started").touch()
    threading.Event().wait(600)

if __name__ == "__main__":
    # A shell's background jobs ignore Ctrl-C, and their children with them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    BackgroundProcess(work, os.environ["FOLDER"]).run()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    environment = {**os.environ, "FOLDER": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL
    ) as parent:
        wait_until(tmp_path / "started")
        parent.send_signal(number)
    process = Path("/proc", (tmp_path / "pid").read_text(), "stat")
    deadline = time.monotonic() + 20
    while process.exists() and process.read_text().rsplit(")", 1)[1].split()[0] not in "ZX":
        assert time.monotonic() < deadline
        time.sleep(0.01)
