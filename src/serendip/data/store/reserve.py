"""Room that is kept on a disk, so that deletions and erasures work when it is full.

A file of zeros beside the database. When a deletion finds no room, the file is removed and the
deletion tried again; what adds something is refused until there is room for the file again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from serendip.errors import DiskFullError

ENDING = "-reserve"
"""Of the name of the file, after that of the database."""

SIZE = 4 << 20
"""Bytes of the file: room for thousands of deletions."""


class Reserve:
    """The room that is kept beside one database; safe to use from many threads and processes.

    Args:
        path: of the file; None = nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._is_kept = path or Path(), False
        self._may_keep = path is not None

    def keep(self) -> None:
        """Make the file if it is missing and there is room for it; from now on it is asked for."""
        self._is_kept = self._may_keep
        if not self._is_kept or self._path.exists() or self._free() < 2 * SIZE:
            return
        with suppress(OSError):  # Without it everything else works as before.
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(handle, 0, SIZE)
            finally:
                os.close(handle)

    def release(self) -> bool:
        """Give the room to a deletion; whether there was any."""
        if not self._may_keep:
            return False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def require_room(self) -> None:
        """Refuse what adds something while the room is given away.

        Raises:
            DiskFullError: there is no room for the file, let alone for more.
        """
        if problem := self.problem():
            raise DiskFullError(f"{problem}.", "Nothing was written. Free some space.")

    def problem(self) -> str:
        """Why what adds something would be refused now; empty = it would not."""
        if not self._is_kept or self._path.exists() or self._free() >= 2 * SIZE:
            return ""
        name = self._path.name.removesuffix(ENDING)
        return f"database {name}: its disk is full but for room that is kept for deletions"

    def _free(self) -> int:
        """Bytes that are free on the disk; 0 = not known."""
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return 0
        return disk.f_bavail * disk.f_frsize
