"""A folder that is filled in one step: everything is written inside it, hidden, and then moved up.

What a killed process leaves is hidden, too, and the next one begins in its place.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serendip.runtime.atomic_files import exclusive_lock, flush_folder

STAGING = ".unfinished"
"""Name of the hidden folder."""


def is_free(target: Path) -> bool:
    """Whether a folder is missing, or has nothing but what a killed process left."""
    if target.is_symlink() or not target.exists():
        return not target.is_symlink()
    return target.is_dir() and all(path.name == STAGING for path in target.iterdir())


@contextmanager
def stage(target: Path) -> Iterator[Path]:
    """An empty folder inside the target, of one process at a time; nothing is left of it.

    Raises:
        StorageError: another process fills the same target.
    """
    is_new = not target.exists()
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_new:
        target.mkdir(mode=0o700)
    place = target / STAGING
    try:
        with exclusive_lock(place):
            staged = place / "files"
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir(mode=0o700)
            try:
                yield staged
            finally:
                shutil.rmtree(place, ignore_errors=True)
    finally:
        if is_new:
            with suppress(OSError):  # it is filled
                target.rmdir()


def put_in_place(staged: Path, target: Path, last: str = "") -> None:
    """Move everything from a folder into another one of its file system; all or nothing.

    Args:
        staged: see ``stage``; on disk, see ``flush_tree``.
        target: has nothing of these names.
        last: name that is moved once all others are there for good.

    Raises:
        OSError: something cannot be moved; the target is as before.
    """
    moved: list[Path] = []
    try:
        for path in sorted(staged.iterdir(), key=lambda path: path.name == last):
            place = target / path.name
            if place.exists():
                raise FileExistsError(f"{place} was made meanwhile")
            if path.name == last:
                flush_folder(target)
            path.rename(place)
            moved.append(place)
    except OSError:
        for place in reversed(moved):
            place.rename(staged / place.name)
        raise
    flush_folder(target)
