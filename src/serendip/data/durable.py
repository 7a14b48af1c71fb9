"""What a crash cannot halve: folders changed by one at a time, files that the disk has."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serendip.errors import StorageError

LOCK = ".lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep every other process from changing a folder (created) meanwhile.

    The operating system gives the lock back when the process ends, however it ends.

    Raises:
        StorageError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"another process is writing to {folder}.",
                "Wait until it has ended, then try again.",
            ) from None
        yield
    finally:
        os.close(handle)


def write_durably(path: Path, text: str) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def flush_tree(folder: Path) -> None:
    """Wait until the disk has a folder and everything in it."""
    for path in [*folder.rglob("*"), folder]:
        flush_folder(path)


def flush_folder(path: Path) -> None:
    """Wait until the disk has the entries of a folder, or the content of a file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
