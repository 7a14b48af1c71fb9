import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serendip.runtime.atomic_files import LOCK, PREFIX, scratch_folder

HOLD = """
import sys
from serendip.runtime.atomic_files import scratch_folder
with scratch_folder() as folder:
    (folder / "half").write_text("written")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", os.fspath(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@contextmanager
def _holder() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process with a folder that looks old."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], text=True, stdin=-1, stdout=-1, env=environment
    ) as process:
        folder = Path(process.stdout.readline().strip())
        os.utime(folder, (0, 0))
        yield process, folder
        process.kill()


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_running_one_stays(
    temporary: Path,
) -> None:
    with _holder() as (process, folder):
        process.kill()
        process.wait()
        assert (folder / "half").exists()
        with scratch_folder() as own:
            assert list(temporary.iterdir()) == [own]
    with _holder() as (_, folder), scratch_folder() as own:
        assert set(temporary.iterdir()) == {folder, own}
        assert (folder / "half").exists()


def test_the_lock_is_of_a_file_that_can_be_written_because_nfs_has_none_of_folders() -> None:
    with _holder() as (process, folder):
        with (folder / LOCK).open("r+b") as stream, pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (handle,) = (
            one for one in Path(f"/proc/{process.pid}/fd").iterdir() if one.samefile(folder / LOCK)
        )
        (flags,) = (
            int(line.split()[1], 8)
            for line in Path(f"/proc/{process.pid}/fdinfo/{handle.name}").read_text().splitlines()
            if line.startswith("flags:")
        )
        assert flags & os.O_ACCMODE == os.O_RDWR


def test_what_may_not_be_locked_yet_and_what_others_made_stays(temporary: Path) -> None:
    young, other, link = (
        temporary / name for name in (f"{PREFIX}young", "serendip-shop", f"{PREFIX}link")
    )
    young.mkdir()
    other.mkdir()
    link.symlink_to(other)
    os.utime(other, (0, 0))
    with scratch_folder():
        assert {young, other, link} < set(temporary.iterdir())
        assert link.is_symlink()
