"""Parsers of users' files: rows of a table become validated items and events.

A reader knows columns and values, never SQL or the store. Every cell arrives as text and is parsed
here, so that "1" stays "1" and a wrong value is reported with file and line. A file with a single
broken row is refused, because half an import is worse than none: the error counts all broken rows
and names the first ones with their places.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from serendip.config import Config
from serendip.data.event import Event
from serendip.data.files.columns import REQUIRED, TableKind, canonical_columns, guess_mapping
from serendip.data.files.tables import Cell, Row, Table, open_table
from serendip.data.files.times import parse_time
from serendip.data.item import Attribute, Item
from serendip.data.limits import MAX_ATTRIBUTES
from serendip.data.store.validation import event_problem, item_problem
from serendip.data.text import plain_title
from serendip.errors import DataError

_SHOWN = 5


class BrokenRows:
    """Collects the errors in the rows of one table.

    Args:
        table: the table being read; rows that it could not parse itself are added at the end.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._first: list[tuple[int, str]] = []
        self._count = 0

    def add(self, row: int, reason: str) -> None:
        """Record why a well-formed row, by its 0-based number, is invalid."""
        self._count += 1
        if len(self._first) < _SHOWN:
            self._first.append((row, reason))

    def refuse(self) -> None:
        """Refuse the file if a row is broken.

        Raises:
            DataError: a row is broken; names file, count, first places and reasons.
        """
        broken = self._table.broken
        count = self._count + len(broken)
        if not count:
            return
        places = self._table.places([row for row, _ in self._first])
        named = [(place, reason) for place, (_, reason) in zip(places, self._first, strict=True)]
        first = sorted([*named, *broken], key=lambda pair: int(pair[0].split()[1]))[:_SHOWN]
        listed = "; ".join(f"{place}: {reason}" for place, reason in first)
        more = f"; and {count - len(first)} more" if count > len(first) else ""
        rows = "1 row is" if count == 1 else f"{count} rows are"
        raise DataError(
            f"{self._table.path.name}: {rows} broken: {listed}{more}.",
            "Nothing was imported. Correct or remove these rows.",
        )


TitleStyle = Literal["plain", "library"]

_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d+)?")


class ItemsConfig(Config):
    """The items file and the meaning of its columns."""

    path: str = ""
    """CSV, JSONL or Parquet, relative to the workspace; empty = no file."""

    list_separator: str = "|"
    """Splits cells into lists, in every attribute column that contains it; empty = never."""

    title_style: TitleStyle = "plain"
    """``library`` turns "Matrix, The (1999)" into "The Matrix" with the year as an attribute."""

    attributes: tuple[str, ...] | dict[str, str] | None = None
    """Further file columns to keep, or attribute name -> file column; default: all others."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Canonical column -> file column; empty = guessed from the names in the file."""

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        _check_mapping(self.columns, "items")
        return self


class EventsConfig(Config):
    """The events file and the meaning of its columns."""

    path: str = ""
    """CSV, JSONL or Parquet, relative to the workspace; empty = no file."""

    default_action: str = "click"
    """Action of rows without one."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Canonical column -> file column; empty = guessed from the names in the file."""

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        _check_mapping(self.columns, "events")
        return self


@dataclass(frozen=True, slots=True)
class ItemsRead:
    """An opened items file: iterating reads it.

    Args:
        path: the file; None if there is none.
        mapping: canonical column -> file column.
        attributes: attribute name -> file column.
        config: how to read.
    """

    path: Path | None
    mapping: Mapping[str, str]
    attributes: Mapping[str, str]
    config: ItemsConfig

    def __iter__(self) -> Iterator[Item]:
        """Yield items in the order of the file, including repeated ids.

        Raises:
            DataError: a row is broken; names file, lines and reasons.
        """
        if self.path is None:
            return
        table = open_table(self.path)
        rows = list(table.rows([*self.mapping.values(), *self.attributes.values()]))
        parsed = self._attribute_rows(rows)
        problems = BrokenRows(table)
        columns = {**self.attributes, **self.mapping}
        for number, (row, attributes) in enumerate(zip(rows, parsed, strict=True)):
            try:
                item = self._item(row, attributes)
            except ValueError as error:
                problems.add(number, str(error))
                continue
            if problem := item_problem(item, columns):
                problems.add(number, problem)
                continue
            yield item
        problems.refuse()

    def _item(self, row: Row, attributes: dict[str, Attribute]) -> Item:
        cells = {name: _text(cell) for name, cell in zip(self.mapping, row, strict=False)}
        title = cells.get("title", "").strip()
        if self.config.title_style == "library":
            title, year = plain_title(title)
            if year is not None:
                attributes.setdefault("year", year)
        available = cells.get("available_from", "").strip()
        return Item(
            item_id=cells["item_id"].strip(),
            title=title,
            description=cells.get("description", "").strip(),
            attributes=attributes,
            available_from=parse_time(available, "available_from") if available else None,
        )

    def _attribute_rows(self, rows: Sequence[Row]) -> list[dict[str, Attribute]]:
        """Attributes of every row; all cells of a column have one type: number, list or text."""
        result: list[dict[str, Attribute]] = [{} for _ in rows]
        for position, name in enumerate(self.attributes, start=len(self.mapping)):
            values = _parse_column([row[position] for row in rows], self.config.list_separator)
            for attributes, value in zip(result, values, strict=True):
                if value is not None:
                    attributes[name] = value
        return result


@dataclass(frozen=True, slots=True)
class EventsRead:
    """An opened events file: iterating reads it.

    Args:
        path: the file; None if there is none.
        mapping: canonical column -> file column.
        config: how to read.
    """

    path: Path | None
    mapping: Mapping[str, str]
    config: EventsConfig

    def __iter__(self) -> Iterator[Event]:
        """Yield events in the order of the file; only one batch is in memory at a time.

        Raises:
            DataError: a row is broken; raised at the end, with all of them counted.
        """
        if self.path is None:
            return
        table = open_table(self.path)
        problems = BrokenRows(table)
        names = tuple(self.mapping)
        for number, row in enumerate(table.rows(list(self.mapping.values()))):
            try:
                event = self._event(dict(zip(names, row, strict=True)))
            except ValueError as error:
                problems.add(number, str(error))
                continue
            if problem := event_problem(event, self.mapping):
                problems.add(number, problem)
                continue
            yield event
        problems.refuse()

    def _event(self, cells: Mapping[str, Cell]) -> Event:
        texts = {name: _text(cell).strip() for name, cell in cells.items()}
        value, position = texts.pop("value", ""), texts.pop("position", "")
        timestamp = parse_time(texts.pop("timestamp"), "timestamp")
        action = texts.pop("action", "") or self.config.default_action
        return Event(
            timestamp=timestamp,
            action=action,
            value=_parse_number(value) if value else None,
            position=_parse_integer(position) if position else None,
            **texts,
        )


def read_items(config: ItemsConfig, base_folder: Path) -> ItemsRead:
    """Open an items file and map its columns; iterate the result to read it.

    Raises:
        DataError: the file is missing or unreadable, or a column is not in it.
    """
    if not config.path:
        return ItemsRead(None, {}, {}, config)
    path = base_folder / config.path
    columns = open_table(path).columns
    mapping = _map_columns(config.columns, columns, "items", path)
    if isinstance(config.attributes, dict):
        attributes = config.attributes
    elif config.attributes is not None:
        attributes = {name: name for name in config.attributes}
    else:
        mapped = set(mapping.values())
        attributes = {name: name for name in columns if name not in mapped}
    _require_columns(attributes.values(), columns, path)
    if len(attributes) > MAX_ATTRIBUTES:
        raise DataError(
            f"{path.name} has {len(attributes):,} attribute columns; at most "
            f"{MAX_ATTRIBUTES} are allowed.",
            "Name the ones to keep in serendip.toml: "
            '`attributes = ["brand", "colour"]` in [items].',
        )
    return ItemsRead(path, mapping, attributes, config)


def read_events(config: EventsConfig, base_folder: Path) -> EventsRead:
    """Open an events file and map its columns; iterate the result to read it.

    Raises:
        DataError: the file is missing or unreadable, or a column is not in it.
    """
    if not config.path:
        return EventsRead(None, {}, config)
    path = base_folder / config.path
    return EventsRead(
        path, _map_columns(config.columns, open_table(path).columns, "events", path), config
    )


def _check_mapping(mapping: Mapping[str, str], kind: TableKind) -> None:
    canonical = canonical_columns(kind)
    for name in mapping:
        if name not in canonical:
            raise ValueError(f"`{name}` is not a column of {kind}; known: {', '.join(canonical)}")
    missing = [name for name in REQUIRED[kind] if mapping and name not in mapping]
    if missing:
        raise ValueError(f"`{missing[0]}` is not mapped to a column of the file")


def _map_columns(
    configured: Mapping[str, str], columns: Sequence[str], kind: TableKind, path: Path
) -> dict[str, str]:
    if configured:
        _require_columns(configured.values(), columns, path)
        return dict(configured)
    mapping = guess_mapping(columns, kind)
    missing = [name for name in REQUIRED[kind] if name not in mapping]
    if missing:
        raise DataError(
            f"{path.name}: no column looks like `{missing[0]}`; found: {', '.join(columns)}.",
            f"Name it in serendip.toml under [{kind}.columns].",
        )
    return mapping


def _require_columns(names: Iterable[str], columns: Sequence[str], path: Path) -> None:
    for name in names:
        if name not in columns:
            close = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]!r}?" if close else "Check serendip.toml."
            raise DataError(
                f"{path.name} has no column {name!r}; found: {', '.join(columns)}.", hint
            )


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else ", ".join(cell)


def _parse_column(cells: Sequence[Cell], separator: str) -> list[Attribute | None]:
    if any(isinstance(cell, tuple) or (separator and separator in cell) for cell in cells):
        return [_split_cell(cell, separator) or None for cell in cells]
    texts = [_text(cell).strip() for cell in cells]
    if all(_NUMBER.fullmatch(text) for text in texts if text):
        return [float(text) if text else None for text in texts]
    return [text or None for text in texts]


def _split_cell(cell: Cell, separator: str) -> tuple[str, ...]:
    parts = cell if isinstance(cell, tuple) else cell.split(separator) if separator else [cell]
    return tuple(value for value in (part.strip() for part in parts) if value)


def _parse_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"value {text[:40]!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"value {text[:40]!r} is not a finite number")
    return number


def _parse_integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"position {text[:40]!r} is not a whole number") from None
