"""Tells every process with one database that a sync of it failed, without writing anything.

After a failed sync the system may have dropped what it did not write, and the sync of another
process that succeeds says nothing about it. So whoever sees one holds a lock until they end, and so
does whoever learns of it: the lock is kept by the system, needs no disk that works, and is gone
once all of them have ended, that is, after a restart.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from pathlib import Path

ENDING = "-failure"
"""Of the name of the file that is locked, after that of the database; it is empty."""

_FLOCK = struct.Struct("@hhqqi0q")  # struct flock: type, whence, start, length, pid
_LENGTH = 1
_HAS_LOCKS = hasattr(fcntl, "F_OFD_SETLK")


class DiskFailure:
    """The failure of the disk of one database, known to all its processes; thread-safe.

    The locks belong to an open file (``F_OFD_SETLK``), not to a process: two databases that one
    process has open learn of each other's failures, too. Where there are no such locks (macOS),
    nothing is told and each process meets the failure itself.

    Args:
        path: of the file of the database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ENDING)
        self._held = -1
        self._lock = threading.Lock()

    def tell(self) -> None:
        """Tell all others, until ``close`` or the end of this process."""
        with self._lock:
            if self._held >= 0 or not _HAS_LOCKS:
                return
            try:
                self._held = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.fcntl(self._held, fcntl.F_OFD_SETLK, _pack(fcntl.F_RDLCK))
            except OSError:  # nothing can be written at all, which others meet themselves
                return

    def is_told(self) -> bool:
        """Whether another one tells it now."""
        if not _HAS_LOCKS:
            return False
        try:
            handle = os.open(self._path, os.O_RDWR)
        except OSError:  # nobody ever did
            return False
        try:
            found = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, _pack(fcntl.F_WRLCK))
        except OSError:
            return False
        finally:
            os.close(handle)
        return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)

    def close(self) -> None:
        """Tell it no more."""
        with self._lock:
            if self._held >= 0:
                os.close(self._held)
                self._held = -1


def _pack(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, 0, _LENGTH, 0)
