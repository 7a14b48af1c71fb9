import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from processes import wait_until

from serendip.runtime.atomic_files import PREFIX


def _start(words: list[str], folder: Path, temporary: Path) -> subprocess.Popen[bytes]:
    """A command whose temporary files are in a folder of their own."""
    environment = {**os.environ, "TMPDIR": os.fspath(temporary)}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-m", "serendip", *words, "-w", os.fspath(folder)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment)


def _kill_once(is_so: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Kill a job as soon as something is so."""
    with process:
        wait_until(
            lambda: is_so() or process.poll() is not None, "the middle of the job", every_s=0.002
        )
        process.kill()
    assert process.returncode == -9, "the job ended before"


def test_the_scratch_folder_of_a_killed_job_is_removed_by_the_next(
    stand: Path, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words = ["train", "--rebuild"]

    def scratch() -> list[Path]:
        return [*temporary.iterdir(), *stand.rglob(f"{PREFIX}*")]

    _kill_once(scratch, _start(words, stand, temporary))
    left = scratch()
    assert left
    for path in left:
        os.utime(path, (0, 0))  # as if it had been killed an hour ago
    with _start(words, stand, temporary) as process:
        assert process.wait() == 0
    assert scratch() == []
