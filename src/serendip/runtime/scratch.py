"""Folders for a job's intermediate files, which do not outlive it for long, however it ends.

A process that is killed cannot remove its folder. The operating system releases its lock on the
folder, though, and the next job that makes one removes all that nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "serendip-scratch-"
"""Of the names of all these folders."""
_YOUNG_S = 60.0
"""Age up to which a folder may be one that is not locked yet."""


@contextmanager
def scratch_folder(inside: Path | None = None) -> Iterator[Path]:
    """A new folder that is removed after the block, or by a later job if the process is killed.

    Its path is absolute: the processes of tasks may run in other folders than this one.

    Args:
        inside: where tasks on other machines find it, too; None = among the temporary files of this
            one.
    """
    temporary = Path(tempfile.gettempdir())
    base = temporary if inside is None else inside.absolute()
    base.mkdir(parents=True, exist_ok=True)
    for place in {base, temporary}:  # word indexes are opened through folders of the latter
        remove_abandoned(place)
    with tempfile.TemporaryDirectory(dir=base, prefix=PREFIX, ignore_cleanup_errors=True) as name:
        handle = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            yield Path(name)
        finally:
            os.close(handle)


def remove_abandoned(base: Path) -> None:
    """Remove the folders in ``base`` of processes of this user that ended without doing so."""
    for path in base.glob(f"{PREFIX}*"):
        try:
            _remove_if_abandoned(path)
        except OSError:  # held, or removed by another job in between
            continue


def _remove_if_abandoned(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(handle)
        if found.st_uid == os.geteuid() and time.time() - found.st_mtime > _YOUNG_S:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
    finally:
        os.close(handle)
