"""Tells every process with one database that a sync of it failed, without writing anything.

After a failed sync the system may have dropped what it did not write, and the sync of another
process that succeeds says nothing about it. So whoever sees one holds a lock until their process
ends, and so does whoever learns of it: the lock is kept by the system, needs no disk that works,
and is gone once all of them have ended, that is, after a restart. The file that is locked is opened
before the first write, while the disk still works.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import struct
import sys
import threading
import time
from pathlib import Path

FAILURE_ENDING = "-failure"
"""Of the name of the file that is locked, after that of the database; it is empty."""

LEARN_S = 2.0
"""A process that tells of a failure ends at the earliest this long after it: services look every
second, and those that learn of it tell it on."""

_FLOCK = struct.Struct("@hhqqi0q")  # struct flock of Linux: type, whence, start, length, pid
_LENGTH = 1  # of the range that is locked; the file is empty all the same
_HAS_LOCKS = sys.platform == "linux" and hasattr(fcntl, "F_OFD_SETLK")

_told: dict[tuple[int, int], int] = {}
"""Device and inode -> handle of the files that this process has locked, until it ends."""
_told_lock = threading.Lock()

_log = logging.getLogger(__name__)


class DiskFailure:
    """The failure of the disk of one database, known to all its processes; thread-safe.

    The locks belong to an open file (``F_OFD_SETLK``), not to a process: two databases that one
    process has open learn of each other's failures, too. Where there are no such locks, or other
    fields of ``struct flock`` (macOS), nothing is told and each process meets the failure itself.

    Args:
        path: of the file of the database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + FAILURE_ENDING)
        self._handle = -1
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Open the file, before a write: afterwards the disk may allow it no more."""
        if not _HAS_LOCKS:
            return
        with self._lock:
            try:
                self._open(os.O_CREAT)
            except OSError:  # no room, or none of ours: tried again at the failure, which says so
                return

    def tell(self) -> None:
        """Tell all others, until the end of this process."""
        if not _HAS_LOCKS:
            return
        with self._lock:
            try:
                if _hold(self._open(os.O_CREAT)):
                    self._handle = -1  # from now on it is the process's
            except OSError as error:
                _log.error(
                    "no other process can be told that the disk of %s failed, restart them all: %s",
                    self._path.name.removesuffix(FAILURE_ENDING),
                    error,
                )

    def is_told(self) -> bool:
        """Whether somebody tells it now."""
        if not _HAS_LOCKS:
            return False
        with self._lock:
            try:
                handle = self._open()
                found = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, _pack(fcntl.F_WRLCK))
            except OSError:  # nobody ever did
                return False
        return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)

    def close(self) -> None:
        """Close the file; what was told is told on."""
        with self._lock:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1

    def _open(self, flags: int = 0) -> int:
        """The handle of the file, opened again if the file was removed meanwhile.

        It is opened for reading, which a disk that has become read-only allows.
        """
        if self._handle >= 0 and not os.fstat(self._handle).st_nlink:
            os.close(self._handle)
            self._handle = -1
        if self._handle < 0:
            self._handle = os.open(self._path, os.O_RDONLY | flags, 0o600)
        return self._handle


def _hold(handle: int) -> bool:
    """Lock the file of a handle until the end of the process; False if it has locked it before."""
    found = os.fstat(handle)
    with _told_lock:
        if (found.st_dev, found.st_ino) in _told:
            return False
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _pack(fcntl.F_RDLCK))
        _told[found.st_dev, found.st_ino] = handle
    atexit.register(_wait_until, time.monotonic() + LEARN_S)
    return True


def _wait_until(end: float) -> None:
    time.sleep(max(0.0, end - time.monotonic()))


def _pack(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, 0, _LENGTH, 0)
