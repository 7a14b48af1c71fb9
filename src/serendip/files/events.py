"""Reads an events file as an Arrow table.

DuckDB reads texts, times and numbers. What may be invalid is looked at again, by the rules of
``store.validation``, which word the reasons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serendip.data import BoolArray, Event
from serendip.data.events.event import EVENT_NUMBERS, EVENT_REQUIRED, EVENT_TEXTS
from serendip.data.events.event_table import join_events, list_events, tabulate_events
from serendip.data.limits import MAX_ID_BYTES, MAX_QUERY_CHARS
from serendip.data.store.validation import event_problem
from serendip.files.cells import number_sql, quote, strip_sql, text_sql, written_number_sql
from serendip.files.config import EventsConfig
from serendip.files.tables import Table, open_table
from serendip.files.times import PLAUSIBLE_SECONDS

if TYPE_CHECKING:
    import pyarrow as pa

_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


@dataclass(frozen=True, slots=True)
class EventsRead:
    """An opened events file.

    Args:
        path: the file; None if there is none.
        mapping: canonical column -> file column.
    """

    config: EventsConfig
    path: Path | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)

    def table(self) -> pa.Table:
        """All events, in the order of the file, with the columns that the file has.

        Raises:
            DataError: a row is broken; names file, count, first places and reasons.
        """
        if self.path is None:
            return tabulate_events([])
        table = open_table(self.path, self.config.encoding)
        events = self._read(table)
        table.refuse_broken(self._find_problems(events))
        return events.drop_columns(["unread"])

    def item_ids(self) -> list[str]:
        """Distinct ids of the items that the events name, in order of first appearance."""
        if self.path is None:
            return []
        table = open_table(self.path, self.config.encoding)
        found: dict[str, None] = {}
        cell = table.cell(self.mapping["item_id"])
        for batch in table.read({"item_id": strip_sql(text_sql(cell))}):
            found |= dict.fromkeys(batch["item_id"].unique().to_pylist())
        return [text for text in found if text]

    def sample(self, most: int) -> list[Event]:
        """The valid events among the first rows."""
        if self.path is None:
            return []
        events = self._read(open_table(self.path, self.config.encoding), most)
        broken = {row for row, _ in self._find_problems(events)}
        read = list_events(events.drop_columns(["unread"]))
        return [event for row, event in enumerate(read) if row not in broken]

    def __iter__(self) -> Iterator[Event]:
        """Yield the events of ``table``; for small files."""
        yield from list_events(self.table())

    def _read(self, table: Table, most: int | None = None) -> pa.Table:
        # ``unread`` says what is wrong with a number.
        batches = table.read(*self._layers(table), most=most)
        return join_events([self._encode(batch) for batch in batches])

    def _layers(self, table: Table) -> list[dict[str, str]]:
        cells = {name: table.cell(column) for name, column in self.mapping.items()}
        texts = {name: text_sql(cell) for name, cell in cells.items() if name in EVENT_TEXTS}
        spelt, numbers, reasons = dict[str, str](), dict[str, str](), []
        for name in filter(cells.__contains__, EVENT_NUMBERS):
            text, number = f"{name}_text", ""
            if cells[name].number:
                number = f"{name}_number"
                spelt[number] = cells[name].number
                text = f"coalesce(CAST({number} AS VARCHAR), '')"
            else:
                spelt[text] = f"trim({text_sql(cells[name])})"
            numbers[name], form = self._number_sql(name, text, number)
            column = EVENT_NUMBERS[name]
            valid = [f"{name} {_SIGNS[sign]} {bound!r}" for sign, bound in column.bounds.items()]
            valid += [f"{name} = floor({name})"] if column.dtype == "int32" else []
            is_valid = " AND ".join([f"{name} IS NOT NULL", *valid])
            begin, end = quote(f"{name} '"), quote(f"' is not {column.meaning}{form}")
            empty = quote(f"{name} is empty") if name in EVENT_REQUIRED else "NULL"
            reason = f"CASE WHEN {text} = '' THEN {empty} ELSE {begin} || {text}[:40] || {end} END"
            reasons.append(f"CASE WHEN NOT coalesce({is_valid}, false) THEN {reason} END")
        same = {name: name for name in (*texts, *numbers)}
        return [
            {**texts, **spelt},
            {**same, **numbers, **{text: text for text in spelt}},
            {**same, "unread": f"coalesce({', '.join(reasons)})"},
        ]

    def _number_sql(self, name: str, text: str, number: str) -> tuple[str, str]:
        """SQL of a number, and how it must be written, for messages."""
        pattern, decimal = self.config.time_format, self.config.decimal
        if name == "timestamp":
            form = f" like {pattern!r}" if pattern else ""
            return self.config.times.seconds_sql(text, number), form
        if decimal and not number:
            return written_number_sql(text, decimal), f" with {decimal!r}"
        return number or number_sql(text), ""

    def _encode(self, batch: pa.RecordBatch) -> pa.Table:
        import pyarrow as pa
        import pyarrow.compute as pc

        columns: dict[str, pa.Array] = {}
        for name in filter(self.mapping.__contains__, EVENT_TEXTS):
            columns[name] = column = batch[name].dictionary_encode()
            texts = pc.utf8_trim_whitespace(column.dictionary)
            if name == "action":
                texts = pc.if_else(pc.equal(texts, ""), self.config.default_action, texts)
            if not texts.equals(column.dictionary):
                merged = texts.dictionary_encode()
                codes = merged.indices.take(column.indices)
                columns[name] = pa.DictionaryArray.from_arrays(codes, merged.dictionary)
        if "action" not in columns:
            codes = np.zeros(len(batch), np.int32)
            columns["action"] = pa.DictionaryArray.from_arrays(codes, [self.config.default_action])
        for name, kind in EVENT_NUMBERS.items():
            if name in self.mapping:
                column = batch[name].cast(kind.dtype, safe=False)
                # A copy: a column of the batch itself would keep all its texts in memory.
                columns[name] = pa.concat_arrays([column, column[:0]])
        columns["unread"] = batch["unread"].dictionary_encode()
        return pa.table(columns)

    def _find_problems(self, events: pa.Table) -> Iterator[tuple[int, str]]:
        rows = np.flatnonzero(_find_doubtful(events))
        doubtful = events.take(rows)
        unread = doubtful["unread"].to_pylist()
        read = list_events(doubtful.drop_columns(["unread"]))
        for row, reason, event in zip(rows.tolist(), unread, read, strict=True):
            if problem := reason or event_problem(event, self.mapping):
                yield row, problem
        times = events["timestamp"].to_numpy()
        if len(times) > 1 and max(PLAUSIBLE_SECONDS, 5 * times[-1]) < times[:-1].min():
            yield len(times) - 1, "timestamp is far before all others: is the file cut off in it?"


def read_events(config: EventsConfig, base_folder: Path) -> EventsRead:
    """Open an events file and map its columns; iterate the result to read it.

    Raises:
        DataError: the file is missing or unreadable, or a column is not in it.
    """
    if not config.path:
        return EventsRead(config)
    path, _, mapping = config.open(base_folder)
    return EventsRead(config, path, mapping)


def _find_doubtful(events: pa.Table) -> BoolArray:
    import pyarrow.compute as pc

    doubtful = np.asarray(pc.is_valid(events["unread"]).to_numpy(), np.bool_)
    for name, text in EVENT_TEXTS.items():
        if name not in events.column_names:
            continue
        column = events[name].combine_chunks()
        column = column.chunk(0) if hasattr(column, "chunks") else column
        texts = column.dictionary
        most = MAX_ID_BYTES if text.is_id else MAX_QUERY_CHARS
        odd = np.asarray(pc.binary_length(texts)) > most
        odd |= np.asarray(pc.match_substring(texts, "\0"))
        if name in EVENT_REQUIRED:
            odd |= np.asarray(pc.equal(texts, ""))
        doubtful |= odd[np.asarray(column.indices)]
    return doubtful
