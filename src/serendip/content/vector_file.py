"""Vectors by key in a SQLite file, one file per encoder.

A batch is a transaction: what was stored is there after a killed process, and any number of
processes read and write the file. It is opened for each call, so that no connection is forked.

Shapes: N keys, D vector size.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray
from serendip.errors import StorageError

_WAIT_S = 60.0
"""Longest wait for a batch of another process."""

_TABLE = """
PRAGMA page_size = 32768;
CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL);
"""


class VectorFile:
    """Vectors of one encoder.

    Args:
        path: created at the first append, and its folder.
        size: D.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size

    def read(self, keys: Sequence[bytes]) -> tuple[FloatArray, BoolArray]:
        """Read vectors by key: (N, D), zeros for missing keys, and the mask (N,) of those found.

        Raises:
            StorageError: the file is damaged.
        """
        vectors = np.zeros((len(keys), self.size), np.float32)
        found = np.zeros(len(keys), np.bool_)
        for row, stored in self._look_up("SELECT vector FROM vectors WHERE key = ?", keys):
            vectors[row], found[row] = np.frombuffer(stored, "<f4"), True
        return vectors, found

    def holds(self, keys: Sequence[bytes]) -> BoolArray:
        """(N,) whether there is a vector for each key, without reading it."""
        found = np.zeros(len(keys), np.bool_)
        for row, _ in self._look_up("SELECT key FROM vectors WHERE key = ?", keys):
            found[row] = True
        return found

    def _look_up(self, question: str, keys: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        """Row and answer of each key that is there."""
        if not self.path.is_file():
            return
        try:
            with closing(sqlite3.connect(self.path, _WAIT_S)) as database:
                for row, key in enumerate(keys):
                    answer = database.execute(question, (key,)).fetchone()
                    if answer is not None:
                        yield row, answer[0]
        except sqlite3.Error as error:
            raise StorageError(
                f"cannot read vectors from {self.path}: {error}.",
                "Delete the file: vectors are computed again.",
            ) from None

    def append(self, keys: Sequence[bytes], vectors: FloatArray) -> None:
        """Store vectors (N, D) under keys; they are on disk at the end.

        Raises:
            StorageError: they cannot be written.
        """
        rows = np.ascontiguousarray(vectors, "<f4")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, _WAIT_S)) as database, database:
                database.executescript(_TABLE)
                database.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                    zip(keys, map(bytes, rows), strict=True),
                )
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"cannot write vectors to {self.path}: {error}.",
                "Free some space and run it again.",
            ) from None
