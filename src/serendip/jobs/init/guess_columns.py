"""What the columns of two files mean: what the user says, then their names, then their cells.

Cells are asked only for required columns that neither the user nor the names settle, and only a
clear answer counts: a wrong guess would train on nonsense, so doubt ends in an error that shows
the columns and the option to add.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from serendip.data.files.columns import REQUIRED, TableKind, guess_mapping
from serendip.data.files.tables import open_table
from serendip.data.files.times import parse_time
from serendip.data.store.validation import id_problem
from serendip.errors import DataError

SAMPLE = 5_000
"""Rows whose cells are looked at."""

NEARLY_ALL = 0.95
"""Share of the filled cells that must be times in a column of times."""

MOSTLY = 0.5
"""Share of different values of an event column that must be ids of items."""

CLEARLY = 4
"""How many times more different values the users need than the next column in question."""

# Unix seconds of 1990 and 2100: numbers outside are counts, prices or codes.
_EARLIEST, _LATEST = 631_152_000.0, 4_102_444_800.0
_LONGEST_SHOWN = 40


@dataclass(frozen=True)
class SampledFile:
    """A file whose columns are to be understood.

    Args:
        path: the file.
        kind: what its rows are.
        given: canonical name -> file column, as the user says.
    """

    path: Path
    kind: TableKind
    given: Mapping[str, str]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names in the file."""
        return open_table(self.path).columns

    @cached_property
    def cells(self) -> Mapping[str, Sequence[str]]:
        """Column -> its cells in the first rows; those that hold a list count as empty."""
        rows = list(islice(open_table(self.path).rows(self.columns), SAMPLE))
        return {
            name: [cell.strip() if isinstance(cell := row[place], str) else "" for row in rows]
            for place, name in enumerate(self.columns)
        }

    def values(self, column: str) -> frozenset[str]:
        """All different values of a column in the whole file, without the empty one."""
        rows = open_table(self.path).rows([column])
        return frozenset(cell.strip() for (cell,) in rows if isinstance(cell, str)) - {""}

    def free(self, mapping: Mapping[str, str]) -> list[str]:
        """Columns that mean nothing yet and are not mostly empty."""
        taken = set(mapping.values())
        return [
            name
            for name in self.columns
            if name not in taken and 2 * len(_filled(self.cells[name])) > len(self.cells[name])
        ]


def understand(
    items: SampledFile, events: SampledFile | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Canonical name -> file column, for the items and for the events.

    Raises:
        DataError: a required column cannot be told; the hint is the option that names it.
    """
    item_columns = guess_mapping(items.columns, "items", items.given)
    event_columns = guess_mapping(events.columns, "events", events.given) if events else {}
    if "item_id" not in item_columns:
        _add(item_columns, "item_id", _item_id(items, item_columns, events, event_columns))
    _require(items, item_columns)
    if events is None:
        return item_columns, {}
    if "item_id" not in event_columns:
        ids = items.values(item_columns["item_id"])
        _add(event_columns, "item_id", _holding(events, events.free(event_columns), ids))
    if "timestamp" not in event_columns:
        _add(event_columns, "timestamp", _only(_times(events, event_columns)))
    if "user_id" not in event_columns and "timestamp" in event_columns:
        _add(event_columns, "user_id", _users(events, event_columns))
    _require(events, event_columns)
    return item_columns, event_columns


def _item_id(
    items: SampledFile,
    mapping: Mapping[str, str],
    events: SampledFile | None,
    event_mapping: Mapping[str, str],
) -> str | None:
    """The unique column; of several, the one whose values the events name."""
    unique = [name for name in items.free(mapping) if _is_unique(items.cells[name])]
    if len(unique) < 2 or events is None:
        return _only(unique)
    if "item_id" in event_mapping:
        asked = [event_mapping["item_id"]]
    else:
        asked = events.free(event_mapping)
    named = []
    for name in unique:
        ids = items.values(name)
        if any(_share(events.cells[column], ids) > MOSTLY for column in asked):
            named.append(name)
    return _only(named)


def _holding(events: SampledFile, columns: Sequence[str], ids: frozenset[str]) -> str | None:
    """The only column whose values mostly are ids of items."""
    return _only([name for name in columns if _share(events.cells[name], ids) > MOSTLY])


def _times(events: SampledFile, mapping: Mapping[str, str]) -> list[str]:
    """Columns whose cells nearly all are times."""
    found = []
    for name in events.free(mapping):
        filled = _filled(events.cells[name])
        if filled and sum(map(_is_time, filled)) >= NEARLY_ALL * len(filled):
            found.append(name)
    return found


def _users(events: SampledFile, mapping: Mapping[str, str]) -> str | None:
    """The column with repeated values; of several, one with clearly more different ones."""
    times = set(_times(events, mapping))
    counts = {
        name: len(set(events.cells[name])) for name in events.free(mapping) if name not in times
    }
    repeated = [name for name in counts if 1 < counts[name] < len(events.cells[name])]
    repeated.sort(key=lambda name: -counts[name])
    if len(repeated) > 1 and counts[repeated[0]] < CLEARLY * counts[repeated[1]]:
        return None
    return repeated[0] if repeated else None


def _require(file: SampledFile, mapping: Mapping[str, str]) -> None:
    missing = [name for name in REQUIRED[file.kind] if name not in mapping]
    if not missing:
        return
    samples = "\n".join(
        f"  {name}: {next(iter(_filled(cells)), '(empty)')[:_LONGEST_SHOWN]}"
        for name, cells in file.cells.items()
    )
    options = " ".join(f"--map {file.kind}.{name}=COLUMN" for name in missing)
    raise DataError(
        f"{file.path}: cannot tell which column is {' and which is '.join(missing)}. "
        f"The columns, with a cell of each:\n{samples}\n",
        f"Add {options} with a name from this list (in quotes where it has spaces).",
    )


def _add(mapping: dict[str, str], name: str, column: str | None) -> None:
    if column is not None:
        mapping[name] = column


def _only(names: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _filled(cells: Sequence[str]) -> list[str]:
    return [cell for cell in cells if cell]


def _is_unique(cells: Sequence[str]) -> bool:
    """Whether every cell can be an id and stands once."""
    if not cells or len(set(cells)) < len(cells):
        return False
    return not any(id_problem(cell) for cell in cells)


def _share(cells: Sequence[str], ids: frozenset[str]) -> float:
    """Share of the different values that are ids."""
    different = set(_filled(cells))
    return len(different & ids) / len(different) if different else 0.0


def _is_time(text: str) -> bool:
    try:
        return _EARLIEST <= parse_time(text) <= _LATEST
    except ValueError:
        return False
