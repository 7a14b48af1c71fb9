"""Vectors by key in two append-only files: rows, which are memory-mapped, and an index of keys.

Rows are read block by block, and the pages of a block are given back before the next one is read:
a catalogue of vectors is in memory once, as the array that is returned.

``vectors.f32`` has the rows, one after the other, little-endian float32. ``keys.bin`` has a record
per row: the key (32 bytes) and the CRC-32 of the row. Rows are written and flushed before their
records, so a record promises a row; bytes after the last whole record, or after its row, are from a
killed process and are overwritten by the next append. A row that does not match its CRC counts as
missing, and is appended again; of several rows with one key the last one counts.

Any number of processes read while one appends (a lock file holds off the others): records and rows
never change once they are written.

Shapes: M stored rows, N keys, D row size.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray

KEY_BYTES = 32
_RECORD = np.dtype([("key", np.uint8, KEY_BYTES), ("crc", "<u4")])
_ROWS_FILE, _KEYS_FILE, _LOCK_FILE = "vectors.f32", "keys.bin", "lock"

_ROWS_AT_ONCE = 65_536

Keys = NDArray[np.uint8]


class VectorFile:
    """Vectors of one encoder.

    Args:
        folder: created at the first append.
        size: D.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self._records = np.empty(0, _RECORD)  # (M,)
        self._rows: FloatArray = np.empty((0, size), np.float32)  # (M, D)
        self._map: mmap.mmap | None = None  # of the rows
        self._is_checked = np.empty(0, np.bool_)  # (M,) rows that were compared with their CRC
        self._is_valid = np.empty(0, np.bool_)  # (M,)
        self._order = np.empty(0, np.int64)  # (M,) records by the start of their key
        self._starts = np.empty(0, np.uint64)  # (M,) ascending

    def read(self, keys: Keys) -> tuple[FloatArray, BoolArray]:
        """Read rows by key.

        Args:
            keys: (N, 32).

        Returns:
            vectors (N, D), zeros for missing keys; and the mask (N,) of the keys that were found.
        """
        self._refresh()
        places = self._find(keys)  # (N,)
        found = places >= 0
        vectors = np.zeros((len(keys), self.size), np.float32)
        for begin in range(0, len(keys), _ROWS_AT_ONCE):
            rows = begin + np.flatnonzero(found[begin : begin + _ROWS_AT_ONCE])
            self._check(np.unique(places[rows]))
            found[rows] = self._is_valid[places[rows]]
            rows = rows[found[rows]]
            vectors[rows] = self._rows[places[rows]]
            if self._map is not None:
                self._map.madvise(mmap.MADV_DONTNEED)
        return vectors, found

    def holds(self, keys: Keys) -> BoolArray:
        """(N,) whether there is a row for each key (N, 32), without reading the rows."""
        self._refresh()
        return self._find(keys) >= 0

    def _check(self, places: NDArray[np.int64]) -> None:
        """Compare rows with their CRC, each once."""
        for place in places[~self._is_checked[places]].tolist():
            self._is_valid[place] = zlib.crc32(self._rows[place]) == self._records["crc"][place]
        self._is_checked[places] = True

    def append(self, keys: Keys, vectors: FloatArray) -> None:
        """Store rows (N, D) under keys (N, 32); both are on disk at the end.

        Raises:
            OSError: they cannot be written.
        """
        rows = np.ascontiguousarray(vectors, "<f4")
        records = np.empty(len(keys), _RECORD)
        records["key"] = keys
        records["crc"] = [zlib.crc32(row) for row in rows]
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock():
            stored = self._num_records()
            _write_at(self.folder / _ROWS_FILE, stored * self.size * 4, rows.tobytes())
            _write_at(self.folder / _KEYS_FILE, stored * _RECORD.itemsize, records.tobytes())

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep other processes from appending; the lock of a killed process is free."""
        with (self.folder / _LOCK_FILE).open("wb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _num_records(self) -> int:
        """Whole records in the index."""
        try:
            return (self.folder / _KEYS_FILE).stat().st_size // _RECORD.itemsize
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def _refresh(self) -> None:
        """Map what has been appended since the last look."""
        count = self._num_records()
        if count == len(self._records):
            return
        path = self.folder / _ROWS_FILE
        present = min(count, path.stat().st_size // (4 * self.size)) if path.exists() else 0
        self._records = np.fromfile(self.folder / _KEYS_FILE, _RECORD, count)
        if present:
            with path.open("rb") as stream:
                length = present * 4 * self.size
                self._map = mmap.mmap(stream.fileno(), length, access=mmap.ACCESS_READ)
            self._rows = np.frombuffer(self._map, "<f4").reshape(present, self.size)
        self._is_checked, self._is_valid = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        starts = _key_starts(self._records["key"])
        self._order = np.argsort(starts, kind="stable")
        self._starts = starts[self._order]

    def _find(self, keys: Keys) -> NDArray[np.int64]:
        """(N,) row of each key, the last one appended; -1 = none."""
        if not len(self._rows):
            return np.full(len(keys), -1, np.int64)
        last = np.searchsorted(self._starts, _key_starts(keys), side="right") - 1
        places = self._order[np.maximum(last, 0)]
        is_same = (self._records["key"][places] == keys).all(1) & (last >= 0)
        return np.where(is_same & (places < len(self._rows)), places, -1)


def _key_starts(keys: Keys) -> NDArray[np.uint64]:
    """(N,) first 8 bytes of keys. Keys are hashes: two with the same start do not occur."""
    return np.ascontiguousarray(keys[:, :8]).view("<u8")[:, 0].astype(np.uint64)


def _write_at(path: Path, begin: int, content: bytes) -> None:
    """Write at a position, drop everything after it, and flush to disk."""
    with _open(path) as stream:
        stream.truncate(begin)
        stream.seek(begin)
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _open(path: Path) -> BinaryIO:
    """Open a file for changes, created if missing."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
