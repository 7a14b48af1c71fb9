"""Files that a crash cannot halve, their digests, folders of one process at a time, and scratch.

``write_text``, ``write_json`` and ``open_parquet`` (row group by row group) are the way to write a
file that outlives the process: it appears whole or not at all. Files of a version need none of
this, because its whole folder appears at once (``versions``).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from serendip.errors import ConfigError, LockedError, StorageError

LOCK = ".lock"


@contextmanager
def exclusive_lock(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold an exclusive lock of a folder, which is created if missing.

    The operating system releases the lock when the process ends, also after a crash. ``wait`` is
    for a process that holds it, instead of an error.

    Raises:
        LockedError: another process holds the lock.
        StorageError: the folder cannot be written.
    """
    with ExitStack() as held:
        with storage_errors(folder):
            make_folder(folder)
            try:
                held.enter_context(lock_file(folder / LOCK, wait))
            except BlockingIOError:
                raise LockedError(
                    f"another process is writing to {folder}.",
                    "Wait until that process has ended, then try again.",
                ) from None
        yield


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Say of an error of the file system what could not be written, why, and the next step.

    Raises:
        StorageError: in place of an ``OSError`` of the block.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}.",
            "Check free space and permissions, then try again.",
        ) from error


@contextmanager
def lock_file(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold a lock of a file, which is made if missing.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def is_locked(folder: Path) -> bool:
    """Whether a process holds the exclusive lock of a folder."""
    return _has_lock(folder / LOCK)


def write_synced(path: Path, text: str) -> None:
    """Write a file and wait until it is on disk."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def make_folder(folder: Path) -> None:
    """Make a folder and its parents if missing, and wait until their names are on disk.

    The name of a folder that exists is flushed, too: who made it may have been killed before that.
    """
    made = [path for path in folder.parents if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder, *made):
        with suppress(PermissionError):  # a parent that is not ours to read was not made here
            flush_folder(path.parent)


def flush_tree(folder: Path) -> None:
    """Wait until a folder and everything below it is on disk."""
    for path in [*folder.rglob("*"), folder]:
        flush_folder(path)


def flush_folder(path: Path) -> None:
    """Wait until the entries of a folder, or the content of a file, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Link a file, or copy it if the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_files(paths: Iterable[Path]) -> str:
    """Hash the contents of files, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write strict JSON (no NaN), indented by 1, as ``write_text`` does.

    Raises:
        StorageError: the file cannot be written.
    """
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step: write aside, flush, rename, flush its folder, which is made.

    Raises:
        StorageError: the file cannot be written.
    """
    part = path.with_name(path.name + ".part")
    with storage_errors(path):
        make_folder(path.parent)
        write_synced(part, text)
        part.replace(path)
        flush_folder(path.parent)


def require_writable(out: Path) -> None:
    """Check that a file can be written, by creating and deleting its temporary file.

    Raises:
        ConfigError: ``out`` is a folder, or its folder cannot be written.
    """
    try:
        if out.is_dir():
            raise IsADirectoryError("it is a folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        part = _temporary_path(out)
        part.touch()
        part.unlink()
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written: {error.strerror or error}.",
            "Give --out a file in a folder that you can write to.",
        ) from None


@contextmanager
def open_parquet(out: Path, schema: Any) -> Iterator[Any]:
    """Open a ``pyarrow.parquet.ParquetWriter`` whose file replaces ``out`` at the end.

    Until then it has a lock and the ending ``.part``: one without a lock is of a killed process.

    ``out`` is unchanged until all rows are written.

    Raises:
        StorageError: the file cannot be written, or another process is writing it.
    """
    import pyarrow.parquet as pq

    part = _temporary_path(out)
    try:
        with storage_errors(out), lock_file(part):
            with pq.ParquetWriter(part, schema) as writer:
                yield writer
            part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def is_being_written(out: Path) -> bool:
    """Whether a process writes what will replace a Parquet file."""
    return _has_lock(_temporary_path(out))


def _has_lock(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _temporary_path(out: Path) -> Path:
    return out.with_name(out.name + ".part")


# A process that is killed cannot remove its scratch folder, but its lock is released: the next job
# removes all that nobody holds. It is the lock of a file open for writing, which NFS passes on.
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
