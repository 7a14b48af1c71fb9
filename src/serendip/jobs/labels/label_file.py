"""File of one person's labels: a CSV file to which rows are appended durably.

``append`` returns after the row is on disk. An incomplete last row, left by a crash, was never
confirmed; it is removed when the file is opened again.
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
    """Labels of one person; the file is locked while it is open.

    Args:
        path: of the file; it and its folder are created if missing.
        name: of the person.

    Raises:
        ConfigError: the name is empty or not printable, or the file cannot be written.
        DataError: the file is not a file of labels, or has labels by another person.
        StorageError: another process has the file open.
    """

    def __init__(self, path: Path, name: str) -> None:
        if not name.strip() or not name.isprintable():
            raise ConfigError(f"--name {name!r} is not a name.", "Give the labeller's name.")
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
        """Close and unlock the file."""
        os.close(self._handle)

    @property
    def rows(self) -> list[tuple[Pair, str]]:
        """Pairs with their labels, oldest first."""
        return list(self._rows)

    def append(self, pair: Pair, label: str) -> None:
        """Append a label and wait until it is on disk.

        Raises:
            StorageError: it cannot be written; the file is unchanged.
        """
        text = _format_row((*pair, label, _SOURCE, self.name)).encode()
        self._write(text)
        self._starts.append(self._end)
        self._rows.append((pair, label))
        self._end += len(text)

    def drop_last(self) -> tuple[Pair, str]:
        """Remove and return the last label, and wait until the file on disk is shorter.

        Raises:
            StorageError: the file cannot be changed.
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
                raise OSError("the row was not written completely")
            os.fsync(self._handle)
        except OSError as error:
            os.ftruncate(self._handle, self._end)
            raise StorageError(
                f"{self.path} cannot be written: {error}.",
                "The label was not saved. Free disk space and label it again.",
            ) from None

    def _read(self) -> None:
        """Read all complete rows and remove an incomplete one; write the header to a new file."""
        header = _format_row(COLUMNS).encode()
        whole = os.pread(self._handle, os.fstat(self._handle).st_size, 0)
        if header.startswith(whole):  # empty, or an incomplete header after a crash
            self._write(header)
            flush_folder(self.path.parent)
            self._end = len(header)
            return
        records = self._parse_rows(whole)
        names, self._end = next(records, ([], 0))
        if tuple(names) != COLUMNS:
            raise DataError(
                f"{self.path} has the columns {', '.join(names)[:200]}, not {', '.join(COLUMNS)}.",
                "Choose another file.",
            )
        seen: set[Pair] = set()
        for cells, end in records:
            self._add_row(cells, seen)
            self._starts.append(self._end)
            self._end = end
        os.ftruncate(self._handle, self._end)
        if whole[self._end - 1 : self._end] != b"\n":  # some editors omit the last line break
            self._write(b"\n")
            self._end += 1

    def _add_row(self, cells: list[str], seen: set[Pair]) -> None:
        """Check a row of the file and add it."""
        query, item, label, _, name = cells
        if name != self.name:
            raise DataError(
                f"{self.path} has labels by {name!r}.", f"Choose another file for {self.name}."
            )
        if label not in LABELS:
            raise DataError(
                f"{self.path} has the unknown label {label!r}.", f"Use one of {', '.join(LABELS)}."
            )
        if (query, item) in seen:
            raise DataError(
                f"{self.path} labels item {item!r} twice for {query!r}.", "Remove one row."
            )
        seen.add((query, item))
        self._rows.append(((query, item), label))

    def _parse_rows(self, whole: bytes) -> Iterator[tuple[list[str], int]]:
        """Cells and end offset in bytes of each complete row.

        Raises:
            DataError: a row other than the last one is broken.
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
                    f"{self.path}, line {len(ends) - 1}: not {len(COLUMNS)} cells.",
                    "Correct the row.",
                )

    def _is_cut(self, cells: list[str], whole: bytes) -> bool:
        """True if the last row of a file is incomplete; an open quote gives no cells."""
        if whole.endswith(b"\n"):
            return not cells
        is_short = len(cells) < len(COLUMNS)
        return is_short or (cells[-1] != self.name and self.name.startswith(cells[-1]))


def _open_locked(path: Path) -> int:
    """Open a file, create it if missing, and lock it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}.", "Choose another file.") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise StorageError(
            f"another labelling session has {path} open.", "Close that session first."
        ) from None
    return handle


def _format_row(cells: tuple[str, ...]) -> str:
    """A CSV row; all cells are quoted, as queries may contain line breaks."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(cells)
    return text.getvalue()
