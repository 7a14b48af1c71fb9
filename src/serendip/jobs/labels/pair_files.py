"""Reads and writes files of (query, item) pairs, with or without labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from serendip.data.files.tables import open_table
from serendip.errors import DataError
from serendip.runtime.atomic_files import write_text

Pair: TypeAlias = tuple[str, str]
"""Query and item id."""

IS_BAD: Mapping[str, bool] = {
    "good": False,
    "bad": True,
    "E": False,
    "S": False,
    "C": False,
    "I": True,
}
"""Label -> whether the item is irrelevant; the last four are the labels of the ESCI data set."""

_PAIR = ("query", "item_id")


def read_pairs(path: Path) -> list[Pair]:
    """Read the distinct pairs of a file with the columns ``query`` and ``item_id``, in its order.

    Raises:
        DataError: the file is missing or broken, or lacks one of the columns.
    """
    return list(dict.fromkeys((row[0], row[1]) for row in _read_rows(path, _PAIR)))


def read_labels(path: Path) -> dict[Pair, bool]:
    """Read labels: pair -> whether it is bad, from a file with the column ``label``, too.

    Raises:
        DataError: as ``read_pairs``, a label is unknown, or a pair has contradictory labels.
    """
    labels: dict[Pair, bool] = {}
    for query, item, label in _read_rows(path, (*_PAIR, "label")):
        if label not in IS_BAD:
            raise DataError(
                f"{path} has the unknown label {label!r}.", f"Use one of {', '.join(IS_BAD)}."
            )
        if labels.setdefault((query, item), IS_BAD[label]) != IS_BAD[label]:
            raise DataError(
                f"{path} labels item {item!r} both good and bad for {query!r}.", "Remove one row."
            )
    return labels


def has_models(path: Path) -> bool:
    """True if a file names the model of any label."""
    table = open_table(path)
    return "model" in table.columns and any(row[0] for row in table.rows(("model",)))


def read_prompts(path: Path) -> list[str]:
    """Read the distinct prompt names of a file of labels; empty if it has none.

    Raises:
        DataError: the file is missing or broken.
    """
    if "prompt" not in open_table(path).columns:
        return []
    return sorted({prompt for (prompt,) in _read_rows(path, ("prompt",)) if prompt})


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file atomically.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _read_rows(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Cells of the columns in all rows, at least one.

    Raises:
        DataError: the file is missing, broken or empty, or lacks one of the columns.
    """
    table = open_table(path)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r}.",
            f"Rename one of its columns: {', '.join(table.columns)}.",
        )
    rows = [tuple(str(cell) for cell in row) for row in table.rows(columns)]
    if table.broken:
        location, reason = table.broken[0]
        raise DataError(f"{path}, {location}: {reason}.", "Correct the row.")
    if not rows:
        raise DataError(f"{path} has no rows.", "Add a row for each pair.")
    return rows
