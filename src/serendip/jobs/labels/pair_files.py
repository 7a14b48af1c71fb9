"""Files of query-item pairs, with or without labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from serendip.errors import DataError
from serendip.files.tables import open_table
from serendip.runtime.atomic_files import write_text

Pair: TypeAlias = tuple[str, str]
"""Query and item id."""

IS_IRRELEVANT: Mapping[str, bool] = {
    "good": False,
    "bad": True,
    "E": False,
    "S": False,
    "C": False,
    "I": True,
}
"""Label -> whether the item is irrelevant to the query; E, S, C and I are the labels exact,
substitute, complement and irrelevant of the Shopping Queries Dataset (Reddy et al. 2022)."""

_PAIR = ("query", "item_id")


def read_pairs(path: Path) -> list[Pair]:
    """Different pairs of a file with the columns ``query`` and ``item_id``, in its order.

    Raises:
        DataError: the file is missing or damaged, or lacks a column.
    """
    return list(dict.fromkeys((row[0], row[1]) for row in read_rows(path, _PAIR)))


def read_labels(path: Path) -> dict[Pair, bool]:
    """Pair -> whether it is irrelevant, of a file that also has the column ``label``.

    Rows without a label are left out, so that a person may fill in a file of pairs in part.

    Raises:
        DataError: as above, a label is unknown, or a pair has two labels.
    """
    labels: dict[Pair, bool] = {}
    for query, item, label in read_rows(path, (*_PAIR, "label")):
        if not label.strip():
            continue
        if label not in IS_IRRELEVANT:
            raise DataError(
                f"{path} has the label {label!r}.", f"Known: {', '.join(IS_IRRELEVANT)}."
            )
        if labels.setdefault((query, item), IS_IRRELEVANT[label]) != IS_IRRELEVANT[label]:
            raise DataError(
                f"{path} labels item {item!r} both relevant and irrelevant for {query!r}.",
                "Keep one label.",
            )
    return labels


def has_model_labels(path: Path) -> bool:
    """Whether a file names a model for any of its labels."""
    table = open_table(path)
    return "model" in table.columns and any(row[0] for row in table.rows(("model",)))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file that appears whole or not at all.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_rows(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """The columns of a file of pairs.

    Raises:
        DataError: the file is missing, damaged or empty, or lacks a column.
    """
    table = open_table(path)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}.", f"It has {list(table.columns)}.")
    rows = [tuple(str(cell) for cell in row) for row in table.rows(columns)]
    if table.broken:
        place, reason = table.broken[0]
        raise DataError(f"{path}, {place}: {reason}.", "Mend the row.")
    if not rows:
        raise DataError(f"{path} has no pairs.")
    return rows
