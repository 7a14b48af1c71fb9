"""One person's labels as a CSV file that grows by a row at a time and never loses one.

A row is on the disk before anybody is told that it was taken. What a crash cut off in the middle of
a row was never told to anybody, and is cut away when the file is opened again.
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
    """The labels of one person, whom nobody else writes for meanwhile.

    Args:
        path: the file, made with its folder where it is missing.
        name: of the person.

    Raises:
        ConfigError: the name is none, or the place cannot be written to.
        DataError: the file holds something else, or somebody else's labels.
        StorageError: another process has it open.
    """

    def __init__(self, path: Path, name: str) -> None:
        if not name.strip() or not name.isprintable():
            raise ConfigError(f"--name {name!r} is no name.", "Say who labels.")
        self.path, self.name = path, name
        self._handle = _opened(path)
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
        """Let others open the file."""
        os.close(self._handle)

    @property
    def rows(self) -> list[tuple[Pair, str]]:
        """Pairs with their labels, in the order in which they were given."""
        return list(self._rows)

    def append(self, pair: Pair, label: str) -> None:
        """Write a label and wait until the disk has it.

        Raises:
            StorageError: it cannot be written; the file is as it was.
        """
        text = _record((*pair, label, _SOURCE, self.name)).encode()
        self._write(text)
        self._starts.append(self._end)
        self._rows.append((pair, label))
        self._end += len(text)

    def drop_last(self) -> tuple[Pair, str]:
        """Take the last label out of the file again, and wait until the disk knows.

        Raises:
            StorageError: it cannot be taken out.
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
                raise OSError("it does not take a whole row")
            os.fsync(self._handle)
        except OSError as error:
            os.ftruncate(self._handle, self._end)
            raise StorageError(
                f"{self.path} cannot be written: {error}.", "Nothing was taken. Is there room?"
            ) from None

    def _read(self) -> None:
        """Rows that are there, but for one that was cut off; a header where there is nothing."""
        header = _record(COLUMNS).encode()
        whole = os.pread(self._handle, os.fstat(self._handle).st_size, 0)
        if header.startswith(whole):  # Nothing, or the beginning of what a crash cut off.
            self._write(header)
            flush_folder(self.path.parent)
            self._end = len(header)
            return
        records = self._records(whole)
        names, self._end = next(records, ([], 0))
        if tuple(names) != COLUMNS:
            raise DataError(
                f"{self.path} has the columns {', '.join(names)[:200]}.",
                f"Labels by people have {', '.join(COLUMNS)}: name another file.",
            )
        seen: set[Pair] = set()
        for cells, end in records:
            self._take(cells, seen)
            self._starts.append(self._end)
            self._end = end
        os.ftruncate(self._handle, self._end)
        if whole[self._end - 1 : self._end] != b"\n":  # An editor has left it out.
            self._write(b"\n")
            self._end += 1

    def _take(self, cells: list[str], seen: set[Pair]) -> None:
        query, item, label, _, name = cells
        if name != self.name:
            raise DataError(
                f"{self.path} has labels by {name!r}.", f"Give {self.name} a file of their own."
            )
        if label not in LABELS:
            raise DataError(f"{self.path} has the label {label!r}.", "It is good or bad.")
        if (query, item) in seen:
            raise DataError(f"{self.path} labels item {item!r} twice for {query!r}.", "Keep one.")
        seen.add((query, item))
        self._rows.append(((query, item), label))

    def _records(self, whole: bytes) -> Iterator[tuple[list[str], int]]:
        """(cells, where it ends in bytes) of whole rows.

        Raises:
            DataError: a row is broken that is not the end of the file.
        """
        ends = [0]

        def lines() -> Iterator[str]:
            for line in io.StringIO(whole.decode("utf-8", "surrogateescape"), newline=""):
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
            if ends[-1] == len(whole) and self._is_cut(cells, whole):
                return
            if len(cells) == len(COLUMNS):
                yield cells, ends[-1]
            else:
                raise DataError(
                    f"{self.path}, line {len(ends) - 1}: not the columns of a label.", "Mend it."
                )

    def _is_cut(self, cells: list[str], whole: bytes) -> bool:
        """Whether the last row of a file is the beginning of one; an open quote has no cells."""
        if whole.endswith(b"\n"):
            return not cells
        is_short = len(cells) < len(COLUMNS)
        return is_short or (cells[-1] != self.name and self.name.startswith(cells[-1]))


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}.", "Name another place.") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StorageError(f"somebody is labelling into {path}.", "Close that one first.") from None
    return handle


def _record(cells: tuple[str, ...]) -> str:
    """One row; every cell is quoted, so that no line break in a query can end it."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(cells)
    return text.getvalue()
