"""Folders that survive a crash: written aside, flushed, checked, and changed by one at a time."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serendip.errors import StorageError

LOCK = ".lock"
MANIFEST = "manifest.json"


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


def point_to(pointer: Path, name: str) -> None:
    """Make a file say ``name`` in one atomic step."""
    temporary = pointer.with_name(f".{pointer.name}.new")
    write_durably(temporary, name + "\n")
    temporary.replace(pointer)
    flush_folder(pointer.parent)


def pointed_at(pointer: Path) -> str:
    """The name that a pointer holds; empty where there is none."""
    try:
        return pointer.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def checksums(folder: Path) -> dict[str, str]:
    """File -> SHA-256, for everything below a folder but its manifest."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


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


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
