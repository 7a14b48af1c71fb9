"""Folders that survive a crash: written aside, flushed, checked, and changed by one at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def publish_folder(
    building: Path, name: str, pointer: Path, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Give a written folder its manifest and its name, and then make a pointer say that name.

    A crash at any point leaves the pointer where it was, or at a complete folder.

    Args:
        building: a folder beside ``pointer``, complete but for its manifest.
        name: what the folder is called from now on.
        pointer: see ``point_to``.
        facts: what the manifest tells beside the checksums.

    Returns:
        the manifest.
    """
    manifest = {**facts, "files": checksums(building)}
    write_durably(building / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False))
    flush_tree(building)
    building.rename(pointer.with_name(name))
    flush_folder(pointer.parent)
    point_to(pointer, name)
    return manifest


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
