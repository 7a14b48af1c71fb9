"""Files of pairs of a query and an item, with labels or without."""

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
"""Label -> whether the pair is a bad match; the last four are those of judged products."""

_PAIR = ("query", "item_id")


def read_pairs(path: Path) -> list[Pair]:
    """Different pairs of a file with the columns ``query`` and ``item_id``, in its order.

    Raises:
        DataError: the file is missing or broken, or has not these columns.
    """
    return list(dict.fromkeys((row[0], row[1]) for row in _rows(path, _PAIR)))


def read_labels(path: Path) -> dict[Pair, bool]:
    """Pair -> whether it is bad, of a file that has a ``label``, too.

    Raises:
        DataError: as above, a label is unknown, or a pair has two labels.
    """
    found: dict[Pair, bool] = {}
    for query, item, label in _rows(path, (*_PAIR, "label")):
        if label not in IS_BAD:
            raise DataError(f"{path} has the label {label!r}.", f"Known: {', '.join(IS_BAD)}.")
        if found.setdefault((query, item), IS_BAD[label]) != IS_BAD[label]:
            raise DataError(
                f"{path} calls item {item!r} both good and bad for {query!r}.", "Keep one label."
            )
    return found


def has_models(path: Path) -> bool:
    """Whether a file says of any label which model it is by."""
    table = open_table(path)
    return "model" in table.columns and any(row[0] for row in table.rows(("model",)))


def read_prompts(path: Path) -> list[str]:
    """Different names of the prompts that a file of labels comes from; none where it tells none.

    Raises:
        DataError: the file is missing or broken.
    """
    if "prompt" not in open_table(path).columns:
        return []
    return sorted({prompt for (prompt,) in _rows(path, ("prompt",)) if prompt})


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file that appears whole or not at all.

    Raises:
        ConfigError: the place cannot be written to.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _rows(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
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
