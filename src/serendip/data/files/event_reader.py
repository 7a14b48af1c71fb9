"""Reads an events file as an Arrow table.

DuckDB parses times and numbers; texts are checked once per distinct text of a batch. Rows that are
not plainly valid ("odd") are read again, one by one, by the rules of ``store.validation``: they are
broken, or spelt in a rare way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray
from serendip.data.events.event import Event
from serendip.data.files.attribute_cells import AttributeCells, DecimalSign
from serendip.data.files.broken_rows import BrokenRows
from serendip.data.files.cells import CellSql, is_filled_sql, number_sql, strip_sql, text_sql
from serendip.data.files.tables import Cell, Table, open_table
from serendip.data.files.times import TimeFormat
from serendip.data.limits import EARLIEST, LATEST, MAX_ID_BYTES, MAX_POSITION, MAX_QUERY_CHARS
from serendip.data.log.event_table import NUMBERS, TEXTS, list_events, tabulate_events, unify
from serendip.data.store.validation import event_problem

if TYPE_CHECKING:
    import pyarrow as pa

_PLAIN = {
    "value": "isfinite({number})",
    "position": (
        f"{{number}} BETWEEN 0 AND {MAX_POSITION} AND NOT contains({{text}}, '.') "
        "AND NOT regexp_matches({text}, '[eE]')"
    ),
    "propensity": "{number} > 0 AND {number} <= 1",
}
"""Optional column of numbers -> SQL that is true for plainly valid ones."""


@dataclass(frozen=True, slots=True)
class EventsRead:
    """An opened events file.

    Args:
        path: the file; None if there is none.
        mapping: canonical column -> file column.
        default_action: action of rows without one.
        encoding: of the file, see ``open_table``.
        times: how ``timestamp`` is written.
        decimal: sign before the decimals of ``value``, if it is written for people; empty = it is
            written as by a program.
    """

    path: Path | None
    mapping: Mapping[str, str]
    default_action: str
    encoding: str = ""
    times: TimeFormat = field(default_factory=TimeFormat)
    decimal: DecimalSign | Literal[""] = ""

    def table(self) -> pa.Table:
        """All events, in the order of the file, with the columns that the file has.

        Raises:
            DataError: a row is broken; names file, count, first places and reasons.
        """
        if self.path is None:
            return tabulate_events([])
        table, problems = self._read()
        problems.refuse()
        return table

    def item_ids(self) -> list[str]:
        """Distinct ids of the items that the events name, in order of first appearance."""
        if self.path is None:
            return []
        table = open_table(self.path, self.encoding)
        column = self.mapping["item_id"]
        cells = {"item_id": strip_sql(text_sql(table.cell(column)))}
        found: dict[str, None] = {}
        for batch in table.batches([column], cells):
            found |= dict.fromkeys(batch["item_id"].unique().to_pylist())
        return [text for text in found if text]

    def sample(self, most: int) -> list[Event]:
        """The valid events among the first rows."""
        return [] if self.path is None else list_events(self._read(most)[0])

    def __iter__(self) -> Iterator[Event]:
        """Yield the events of ``table``; for small files."""
        yield from list_events(self.table())

    def _read(self, most: int | None = None) -> tuple[pa.Table, BrokenRows]:
        assert self.path is not None
        table = open_table(self.path, self.encoding)
        begin, plain, rows, odd = 0, [], [], []
        for batch in table.batches(list(self.mapping.values()), self._expressions(table), most):
            events, is_odd = self._encode(batch)
            plain.append(events)
            rows.append(np.flatnonzero(~is_odd) + begin)
            odd.append(np.flatnonzero(is_odd) + begin)
            begin += len(is_odd)
        problems = BrokenRows(table)
        left = np.concatenate(odd) if odd else np.empty(0, np.int64)
        if len(left):
            read, read_rows = self._read_odd(table, left, problems)
            plain.append(read.select(plain[0].column_names))
            rows.append(read_rows)
        if not plain:
            return tabulate_events([]), problems
        events = unify(plain)
        if len(left):
            events = events.take(np.argsort(np.concatenate(rows)))
        return events, problems

    def _expressions(self, table: Table) -> dict[str, str]:
        """SQL of the texts and numbers, and whether there is a number that is not plain."""
        cells = {name: table.cell(column) for name, column in self.mapping.items()}
        texts = {name: text_sql(cells[name]) for name in TEXTS if name in cells}
        seconds = self.times.seconds_sql(cells["timestamp"])
        odd = [f"NOT coalesce({seconds} BETWEEN {EARLIEST!r} AND {LATEST!r}, false)"]
        numbers = {"timestamp": seconds}
        for name, is_plain in _PLAIN.items():
            if name in cells:
                number, filled = self._number_sql(name, cells[name]), is_filled_sql(cells[name])
                plain = is_plain.format(number=number, text=text_sql(cells[name]))
                odd.append(f"CASE WHEN {number} IS NULL THEN {filled} ELSE NOT ({plain}) END")
                numbers[name] = f"CASE WHEN {plain} THEN {number} END"
        return {**texts, **numbers, "is_odd_number": " OR ".join(odd)}

    def _number_sql(self, name: str, cell: CellSql) -> str:
        """SQL of a number; NULL if the cell is empty or to be read by ``_event``."""
        if name != "value" or not self.decimal or cell.number:
            return number_sql(cell)
        return self._written.value_sql(name, "number", strip_sql(text_sql(cell)), "")

    @property
    def _written(self) -> AttributeCells:
        """How a value that is written for people is read."""
        return AttributeCells("", decimals={"value": self.decimal} if self.decimal else {})

    def _value(self, text: str) -> float:
        if not self.decimal:
            return _parse_number("value", text)
        number = self._written.parse("value", "number", text)
        if not isinstance(number, float):
            raise ValueError(f"value {text[:40]!r} is not a number with {self.decimal!r}")
        return number

    def _encode(self, batch: pa.RecordBatch) -> tuple[pa.Table, BoolArray]:
        """The plain events of a batch, and (R,) which rows are odd."""
        import pyarrow as pa

        odd = _mask(batch["odd"]) | _mask(batch["is_odd_number"])
        columns: dict[str, pa.Array] = {}
        empty: dict[str, BoolArray] = {}
        for name in TEXTS:
            if name not in self.mapping and name != "action":
                continue
            column = self._encode_text(name, batch)
            is_odd, is_empty = _check_texts(name, column.dictionary)
            codes = np.asarray(column.indices)
            odd |= is_odd[codes]
            empty[name] = is_empty[codes]
            columns[name] = column
        odd |= empty["user_id"] | empty["action"]
        odd |= empty["item_id"] & empty.get("query", np.True_)
        for name, kind in NUMBERS.items():
            if name in self.mapping:
                column = batch[name].cast(kind, safe=False)
                # A copy: a column of the batch itself would keep all its texts in memory.
                columns[name] = pa.concat_arrays([column, column[:0]])
        events = pa.table(columns)
        return (events.filter(pa.array(~odd)) if odd.any() else events), odd

    def _encode_text(self, name: str, batch: pa.RecordBatch) -> pa.DictionaryArray:
        """A column of texts without white space around them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if name not in self.mapping:
            codes = np.zeros(len(batch), np.int32)
            return pa.DictionaryArray.from_arrays(codes, [self.default_action])
        column = batch[name].dictionary_encode()
        texts = pc.utf8_trim_whitespace(column.dictionary)
        if name == "action":
            texts = pc.if_else(pc.equal(texts, ""), self.default_action, texts)
        if texts.equals(column.dictionary):
            return column
        merged = texts.dictionary_encode()
        return pa.DictionaryArray.from_arrays(
            merged.indices.take(column.indices), merged.dictionary
        )

    def _read_odd(
        self, table: Table, rows: NDArray[np.int64], problems: BrokenRows
    ) -> tuple[pa.Table, NDArray[np.int64]]:
        """The valid events among some rows, with their row numbers; the others are problems."""
        valid: list[int] = []

        def events() -> Iterator[Event]:
            cells = table.rows(list(self.mapping.values()), rows)
            for number, row in zip(rows.tolist(), cells, strict=True):
                try:
                    event = self._event(dict(zip(self.mapping, row, strict=True)))
                except ValueError as error:
                    problems.add(number, str(error))
                    continue
                if problem := event_problem(event, self.mapping):
                    problems.add(number, problem)
                    continue
                valid.append(number)
                yield event

        return tabulate_events(events()), np.array(valid, np.int64)

    def _event(self, cells: Mapping[str, Cell]) -> Event:
        texts = {
            name: (cell if isinstance(cell, str) else ", ".join(cell)).strip()
            for name, cell in cells.items()
        }
        value, position = texts.pop("value", ""), texts.pop("position", "")
        propensity = texts.pop("propensity", "")
        timestamp = self.times.parse(texts.pop("timestamp"))
        action = texts.pop("action", "") or self.default_action
        return Event(
            timestamp=timestamp,
            action=action,
            value=self._value(value) if value else None,
            position=_parse_integer(position) if position else None,
            propensity=_parse_number("propensity", propensity) if propensity else None,
            **texts,
        )


def _mask(column: pa.BooleanArray) -> BoolArray:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.bool_)


def _check_texts(name: str, texts: pa.StringArray) -> tuple[BoolArray, BoolArray]:
    """Of distinct texts: which are too long or have a NUL character, and which are empty."""
    import pyarrow.compute as pc

    sizes = np.asarray(pc.binary_length(texts))
    odd = np.asarray(pc.match_substring(texts, "\0"))
    if name == "query":
        odd = odd | (np.asarray(pc.utf8_length(texts)) > MAX_QUERY_CHARS)
    else:
        odd = odd | (sizes > MAX_ID_BYTES)
    return odd, sizes == 0


def _parse_number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name} {text[:40]!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} {text[:40]!r} is not a finite number")
    return number


def _parse_integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"position {text[:40]!r} is not a whole number") from None
