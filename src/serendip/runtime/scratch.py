"""Folders for a job's intermediate files, which do not outlive it for long, however it ends.

A process that is killed cannot remove its folder. The operating system releases its lock, though,
and the next job that makes one removes all that nobody holds. The lock is one of a file that is
open for writing: NFS passes such locks on to other machines, but none of a folder.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from serendip.runtime.atomic_files import LOCK, lock_file, storage_errors

PREFIX = "serendip-scratch-"  # of the names of all these folders
_WITHOUT_LOCK_S = 24 * 3600.0  # age up to which a folder without a file to lock may be in use


@contextmanager
def scratch_folder(inside: Path | None = None) -> Iterator[Path]:
    """A new folder that is removed after the block, or by a later job if the process is killed.

    Its path is absolute: the processes of tasks may run in other folders than this one.

    ``inside`` is where tasks on other machines find it, too; None = among the temporary files.

    Raises:
        StorageError: it cannot be made.
    """
    temporary = Path(tempfile.gettempdir())
    base = temporary if inside is None else inside.absolute()
    with ExitStack() as stack:
        with storage_errors(base):
            base.mkdir(parents=True, exist_ok=True)
            for place in {base, temporary}:  # word indexes are opened through folders of the latter
                remove_abandoned(place)
            name = stack.enter_context(
                tempfile.TemporaryDirectory(dir=base, prefix=PREFIX, ignore_cleanup_errors=True)
            )
            stack.enter_context(lock_file(new := Path(name, f"{LOCK}.new")))
            new.rename(Path(name, LOCK))  # nobody finds the file before it is locked
        yield Path(name)


def find_scratch(base: Path) -> list[Path]:
    """The folders in ``base`` of jobs that run or were killed, which have a file to lock."""
    return sorted(path.parent for path in base.glob(f"{PREFIX}*/{LOCK}"))


def remove_abandoned(base: Path) -> None:
    """Remove the folders in ``base`` of processes of this user that ended without doing so."""
    for path in base.glob(f"{PREFIX}*"):
        with suppress(OSError):  # held, or removed by another job in between
            _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    if not (path / LOCK).exists():
        if time.time() - found.st_mtime > _WITHOUT_LOCK_S:
            shutil.rmtree(path)
        return
    with lock_file(path / LOCK):
        shutil.rmtree(path, ignore_errors=True)  # NFS keeps what is open, under another name
    shutil.rmtree(path)
