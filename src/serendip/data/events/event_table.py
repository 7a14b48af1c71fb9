"""Events as an Arrow table: texts dictionary-encoded, so that 2,000,000 rows hold each id once.

A column that no event fills may be missing; ``user_id``, ``item_id``, ``timestamp`` and ``action``
never are. A missing text is ``""``, a missing number null. ``LogColumns`` are the whole log as
numbers: snapshots read no text per event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, IntArray, TimeArray
from serendip.data.events.event import (
    EVENT_COLUMNS,
    EVENT_NUMBERS,
    EVENT_REQUIRED,
    EVENT_TEXTS,
    NO_SESSION,
    Event,
    session_code,
)
from serendip.data.rows.arrow import TEXT_CODES, tabulate, to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

_TYPES = dict.fromkeys(EVENT_TEXTS, TEXT_CODES) | {
    name: column.dtype for name, column in EVENT_NUMBERS.items()
}


def tabulate_events(events: Iterable[Event]) -> pa.Table:
    """Build a table of all columns from valid events, in their order."""
    return tabulate_rows(EVENT_COLUMNS, map(attrgetter(*EVENT_COLUMNS), events))


def tabulate_rows(names: Iterable[str], rows: Iterable[Sequence[Any]]) -> pa.Table:
    """Build a table from rows of values; columns that events do not have become integers."""
    return join_events([tabulate(rows, {name: _TYPES.get(name, "int64") for name in names})])


def join_events(tables: Iterable[pa.Table]) -> pa.Table:
    """Concatenate tables, at least one, of which some may lack columns; one dictionary each."""
    import pyarrow as pa

    every = list(tables)
    parts = [table for table in every if len(table)] or every[-1:]
    names = [name for name in EVENT_TEXTS if any(name in part.column_names for part in parts)]
    for place, part in enumerate(parts):
        for name in names:
            if name not in part.column_names:
                codes = to_arrow(np.zeros(len(part), np.int32))
                column = pa.DictionaryArray.from_arrays(codes, pa.array([""], "string"))
                parts[place] = parts[place].append_column(name, column)
    joined = pa.concat_tables(parts, promote_options="default")
    return joined.unify_dictionaries().combine_chunks()


def without_empty_columns(table: pa.Table) -> pa.Table:
    """Drop the optional columns that no event fills."""
    optional = set(table.column_names) & EVENT_COLUMNS.keys() - EVENT_REQUIRED
    return table.drop_columns([name for name in optional if _is_empty(table, name)])


def list_events(table: pa.Table) -> list[Event]:
    """The rows of a table as events."""
    present = set(table.column_names)
    columns = (
        table[field.name].to_pylist() if field.name in present else repeat(field.default)
        for field in fields(Event)
    )
    return list(map(Event, *columns))


def stable_order(numbers: IntArray) -> NDArray[np.intp]:
    """(E,) rows in ascending order of non-negative numbers, ties in order: two radix passes."""
    order = np.argsort((numbers & 0xFFFF).astype(np.uint16), kind="stable")
    if len(numbers) and int(numbers.max()) > 0xFFFF:
        high = (numbers >> 16).astype(np.uint16)
        order = order[np.argsort(high[order], kind="stable")]
    return order


def read_codes(table: pa.Table, name: str) -> tuple[IntArray, pa.StringArray]:
    """A text column as (E,) int32 codes and the texts that they are indices into."""
    import pyarrow as pa

    chunks = table[name].unify_dictionaries().combine_chunks()
    column = chunks.chunk(0) if isinstance(chunks, pa.ChunkedArray) else chunks
    return np.asarray(column.indices, np.int32), column.dictionary


def read_numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    """(E,) float64 of a column of numbers; NaN where there is none."""
    if name not in table.column_names:
        return np.full(len(table), np.nan)
    return np.asarray(table[name].cast("float64").to_numpy(), np.float64)


def is_first(codes: IntArray) -> BoolArray:
    """(E,) True where a code appears for the first time."""
    first = np.zeros(len(codes), np.bool_)
    if len(codes):
        places = np.empty(int(codes.max()) + 1, np.int64)
        places[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
        first[places[codes]] = True
    return first


def _is_empty(table: pa.Table, name: str) -> bool:
    if name in EVENT_NUMBERS:
        return bool(table[name].null_count == len(table))
    _, names = read_codes(table, name)
    return not any(names.to_pylist()[:2])


# (E,) int32 codes of a column of texts, and the texts that they are indices into, each once.
Texts: TypeAlias = tuple[IntArray, Sequence[str]]


@dataclass(frozen=True, slots=True, eq=False)
class LogColumns:
    """All E events in order of time, ties in order of arrival; None = no event has any."""

    users: Texts
    items: Texts  # empty for a query without a click
    actions: Texts
    timestamps: TimeArray  # Unix seconds, non-decreasing
    values: TimeArray  # NaN where an event has none
    countries: Texts | None = None
    devices: Texts | None = None
    sessions: NDArray[np.int64] | None = None  # ``session_code``

    def __len__(self) -> int:
        return len(self.timestamps)

    @classmethod
    def of_table(cls, table: pa.Table) -> Self:
        """Read a log in order of time: an ``event_table`` with ``seq``, and ``session`` codes."""
        if not len(table):
            return cls(*((np.empty(0, np.int32), ()),) * 3, *(np.empty(0),) * 2)
        times = np.asarray(table["timestamp"])
        order = _order(np.asarray(table["seq"], np.int64), times)

        def read(name: str) -> Texts:
            codes, names = read_codes(table, name)
            return codes[order], names.to_pylist()

        present = set(table.column_names)
        countries, devices = (
            read(name) if name in present else None for name in ("country", "device")
        )
        sessions = read_sessions(table)[order] if present & {"session", "session_id"} else None
        values = read_numbers(table, "value")[order]
        texts = read("user_id"), read("item_id"), read("action")
        return cls(*texts, times[order], values, countries, devices, sessions)


def _order(numbers: NDArray[np.int64], times: TimeArray) -> NDArray[np.intp]:
    lowest = int(numbers.min())
    span = int(numbers.max()) - lowest + 1
    if span <= 4 * len(numbers):  # nearly without gaps: each row goes to its own place
        places = np.full(span, -1, np.int64)
        places[numbers - lowest] = np.arange(len(numbers))
        order = places[places >= 0]
    else:
        order = np.argsort(numbers)
    ordered = times[order]
    if (ordered[1:] >= ordered[:-1]).all():
        return order
    return order[np.argsort(ordered, kind="stable")]


def read_sessions(table: pa.Table) -> NDArray[np.int64]:
    """(E,) ``session_code`` of events, from ``session`` where they are numbers already."""
    import pyarrow.compute as pc

    if "session_id" in table.column_names:
        codes, names = read_codes(table, "session_id")
        numbers: NDArray[np.int64] = np.array(list(map(session_code, names.to_pylist())), np.int64)
        return numbers[codes]
    return np.asarray(pc.fill_null(table["session"], NO_SESSION), np.int64)
