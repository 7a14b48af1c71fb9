"""What a crash cannot halve: folders changed by one at a time, files that the disk has.

Files that appear whole or not at all, and what tells them from others.

A Parquet file that appears whole or not at all.
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


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON, as ``write_whole`` does.

    Raises:
        ConfigError: the place cannot be written to.
    """
    write_whole(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write aside, flush and rename; folders are made.

    Raises:
        ConfigError: the place cannot be written to.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
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
