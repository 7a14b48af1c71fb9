"""CSV file of one person's labels, written one durable row at a time.

A row is on disk before ``append`` returns. A row that a crash cut off was never acknowledged; it is
removed when the file is opened again.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from serendip.errors import ConfigError, DataError, StorageError
from serendip.jobs.labels.pair_files import Pair
from serendip.runtime.atomic_files import flush_folder

COLUMNS = ("query", "item_id", "label", "source", "name")
LABELS = ("good", "bad")
_SOURCE = "people"


class LabelFile:
    """The labels of one person, locked for this process.

    Args:
        path: the file; it and its folder are created if missing.
        name: of the labeller.

    Raises:
        ConfigError: the name is empty or not printable, or the file cannot be written.
        DataError: the file is not a file of labels, or has another person's.
        StorageError: another process has it open.
    """

    def __init__(self, path: Path, name: str) -> None:
        if not name.strip() or not name.isprintable():
            raise ConfigError(f"--name is {name!r}.", "Give the name of the labeller, on one line.")
        self.path, self.name = path, name
        self._handle = _open_locked(path)
        self._rows: list[tuple[Pair, str]] = []
        self._starts: list[int] = []
        self._end = 0
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unlock and close the file."""
        os.close(self._handle)

    @property
    def rows(self) -> list[tuple[Pair, str]]:
        """Pairs with their labels, oldest first."""
        return list(self._rows)

    def append(self, pair: Pair, label: str) -> None:
        """Write a label and flush it to disk.

        Raises:
            StorageError: it cannot be written; the file is unchanged.
        """
        text = _format_row((*pair, label, _SOURCE, self.name)).encode()
        self._write(text)
        self._starts.append(self._end)
        self._rows.append((pair, label))
        self._end += len(text)

    def drop_last(self) -> tuple[Pair, str]:
        """Remove the last label and flush the change to disk.

        Raises:
            StorageError: it cannot be removed.
        """
        start = self._starts[-1]
        try:
            os.ftruncate(self._handle, start)
            os.fsync(self._handle)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be changed: {error}.", "Try again.") from None
        self._starts.pop()
        self._end = start
        return self._rows.pop()

    def _write(self, text: bytes) -> None:
        try:
            if os.pwrite(self._handle, text, self._end) != len(text):
                raise OSError("a row was written in part")
            os.fsync(self._handle)
        except OSError as error:
            os.ftruncate(self._handle, self._end)
            raise StorageError(
                f"{self.path} cannot be written: {error}.",
                "The label was not saved: free disk space.",
            ) from None

    def _read(self) -> None:
        """Read all whole rows and remove a cut one; write the header of an empty file."""
        header = _format_row(COLUMNS).encode()
        content = os.pread(self._handle, os.fstat(self._handle).st_size, 0)
        if header.startswith(content):  # Empty, or a header that a crash cut off.
            self._write(header)
            flush_folder(self.path.parent)
            self._end = len(header)
            return
        records = self._records(content)
        names, self._end = next(records, ([], 0))
        if tuple(names) != COLUMNS:
            raise DataError(
                f"{self.path} has the columns {', '.join(names)[:200]}.",
                f"A file of labels has {', '.join(COLUMNS)}: name another one.",
            )
        seen: set[Pair] = set()
        for cells, end in records:
            self._add(cells, seen)
            self._starts.append(self._end)
            self._end = end
        os.ftruncate(self._handle, self._end)
        if content[self._end - 1 : self._end] != b"\n":  # Some editors omit the last one.
            self._write(b"\n")
            self._end += 1

    def _add(self, cells: list[str], seen: set[Pair]) -> None:
        query, item, label, _, name = cells
        if name != self.name:
            raise DataError(
                f"{self.path} has labels by {name!r}.", f"Name another file for {self.name}."
            )
        if label not in LABELS:
            raise DataError(f"{self.path} has the label {label!r}.", f"Known: {', '.join(LABELS)}.")
        if (query, item) in seen:
            raise DataError(f"{self.path} labels item {item!r} twice for {query!r}.", "Keep one.")
        seen.add((query, item))
        self._rows.append(((query, item), label))

    def _records(self, content: bytes) -> Iterator[tuple[list[str], int]]:
        """(cells, offset of its end in bytes) of each whole row.

        Raises:
            DataError: a row before the end of the file is damaged.
        """
        ends = [0]

        def lines() -> Iterator[str]:
            for line in io.StringIO(content.decode("utf-8", "surrogateescape"), newline=""):
                ends.append(ends[-1] + len(line.encode("utf-8", "surrogateescape")))
                yield line

        reader = csv.reader(lines(), strict=True)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                cells = []
            if ends[-1] == len(content) and self._is_cut(cells, content):
                return
            if len(cells) == len(COLUMNS):
                yield cells, ends[-1]
            else:
                raise DataError(
                    f"{self.path}, line {len(ends) - 1}: not {len(COLUMNS)} cells.",
                    "Correct the line.",
                )

    def _is_cut(self, cells: list[str], content: bytes) -> bool:
        """Whether the last row is incomplete; one with an open quote has no cells."""
        if content.endswith(b"\n"):
            return not cells
        is_short = len(cells) < len(COLUMNS)
        return is_short or (cells[-1] != self.name and self.name.startswith(cells[-1]))


def _open_locked(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}.", "Name another file.") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StorageError(
            f"{path} is open in another process.", "End the other session first."
        ) from None
    return handle


def _format_row(cells: tuple[str, ...]) -> str:
    """One CSV line; every cell is quoted, so that a line break in a query cannot end the row."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(cells)
    return text.getvalue()
