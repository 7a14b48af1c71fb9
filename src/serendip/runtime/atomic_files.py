"""Files that a crash cannot halve, their digests, and folders that one process at a time changes.

``write_text``, ``write_json`` and ``parquet_file`` (row group by row group) are the way to write a
file that outlives the process: it appears whole or not at all. Files of a version need none of
this, because its whole folder appears at once (``versions``).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serendip.errors import ConfigError, StorageError

LOCK = ".lock"


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
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


def write_synced(path: Path, text: str) -> None:
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


def digest_of_files(paths: Iterable[Path]) -> str:
    """Changes whenever a byte of the files does."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:16]


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write strict JSON (no NaN), indented by 1, as ``write_text`` does.

    Raises:
        ConfigError: the place cannot be written to.
    """
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step: write aside, flush, rename, flush its folder, which is made.

    Raises:
        ConfigError: the place cannot be written to.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_synced(part, text)
        part.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}.", "Name another place.") from None


def require_writable(out: Path) -> None:
    """Write an empty file where rows will be collected, and take it away again.

    Raises:
        ConfigError: ``out`` is a folder, or its folder cannot be written to.
    """
    try:
        if out.is_dir():
            raise IsADirectoryError("it is a folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        part = _part(out)
        part.touch()
        part.unlink()
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written: {error.strerror or error}.",
            "Give --out a file in a folder of yours.",
        ) from None


@contextmanager
def parquet_file(out: Path, schema: Any) -> Iterator[Any]:
    """A ``pyarrow.parquet.ParquetWriter`` whose file takes the place of ``out`` at the end.

    Args:
        out: the file; what was there before stays until everything is written.
        schema: of pyarrow.

    Raises:
        StorageError: it could be written before, and now cannot.
    """
    import pyarrow.parquet as pq

    part = _part(out)
    try:
        with pq.ParquetWriter(part, schema) as writer:
            yield writer
        part.replace(out)
    except OSError as error:
        raise StorageError(
            f"{out} cannot be written: {error.strerror or error}.", "Is the disk full?"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def _part(out: Path) -> Path:
    return out.with_name(out.name + ".part")
