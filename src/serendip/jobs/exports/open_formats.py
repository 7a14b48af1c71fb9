"""Open formats, which an import reads as they were: Parquet and JSON lines."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from serendip.data.events.event import Event
from serendip.data.items.attributes import Attribute
from serendip.data.items.catalogue import Item
from serendip.data.log.event_table import list_events
from serendip.data.store.store import StoreTables
from serendip.data.users.user import User
from serendip.engine.workspace import SETTINGS_FILE

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]

_AT_ONCE = 65_536
"""Events of a table that are objects at once."""


class OpenFormat(ABC):
    """Files that an import reads as they were."""

    ending: ClassVar[str]

    @abstractmethod
    def write_items(self, folder: Path, items: Sequence[Item]) -> None:
        """Write the items."""

    @abstractmethod
    def write_users(self, folder: Path, users: Sequence[User]) -> None:
        """Write the users with attributes."""

    @abstractmethod
    def write_events(self, folder: Path, events: pa.Table) -> None:
        """Write the events, see ``event_table``."""

    def write_settings(self, folder: Path, tables: StoreTables) -> None:
        """``serendip.toml`` with the names of the files and of their columns."""
        lines = ["[items]", f'path = "items.{self.ending}"', 'list_separator = ""', ""]
        names = ["item_id", "title", "description", "available_from"]
        lines += ["[items.columns]", *(f'{name} = "{name}"' for name in names)]
        if len(tables.events):
            columns = tables.events.column_names
            lines += ["", "[events]", f'path = "events.{self.ending}"', ""]
            lines += ["[events.columns]", *(f'{name} = "{name}"' for name in columns)]
        if tables.users:
            lines += ["", "[users]", f'path = "users.{self.ending}"', ""]
            lines += ["[users.columns]", 'user_id = "user_id"']
        (folder / SETTINGS_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


class ParquetFormat(OpenFormat):
    """One Parquet file per table; an attribute of several kinds is a list of texts, or a text."""

    ending = "parquet"

    def write_items(self, folder: Path, items: Sequence[Item]) -> None:
        """``items.parquet``."""
        rows: Mapping[str, Sequence[Any]] = {
            "item_id": [item.item_id for item in items],
            "title": [item.title for item in items],
            "description": [item.description for item in items],
            "available_from": [item.available_from for item in items],
        }
        _write_parquet(folder / "items.parquet", rows, [item.attributes for item in items])

    def write_users(self, folder: Path, users: Sequence[User]) -> None:
        """``users.parquet``."""
        if users:
            rows = {"user_id": [user.user_id for user in users]}
            _write_parquet(folder / "users.parquet", rows, [user.attributes for user in users])

    def write_events(self, folder: Path, events: pa.Table) -> None:
        """``events.parquet``."""
        import pyarrow.parquet as pq

        if len(events):
            pq.write_table(events, folder / "events.parquet", compression="zstd")


class JsonFormat(OpenFormat):
    """One JSON object per line; what is missing is left out."""

    ending = "jsonl"

    def write_items(self, folder: Path, items: Sequence[Item]) -> None:
        """``items.jsonl``."""
        _write_lines(folder / "items.jsonl", map(_item_row, items))

    def write_users(self, folder: Path, users: Sequence[User]) -> None:
        """``users.jsonl``."""
        if users:
            rows = ({"user_id": user.user_id} | _attribute_row(user.attributes) for user in users)
            _write_lines(folder / "users.jsonl", rows)

    def write_events(self, folder: Path, events: pa.Table) -> None:
        """``events.jsonl``."""
        if len(events):
            _write_lines(folder / "events.jsonl", map(_event_row, _iterate_events(events)))


def _write_lines(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def _iterate_events(table: pa.Table) -> Iterator[Event]:
    for begin in range(0, len(table), _AT_ONCE):
        yield from list_events(table.slice(begin, _AT_ONCE))


def _item_row(item: Item) -> Row:
    """An item as a JSON object, attributes beside its texts; what is empty is left out."""
    names = ("item_id", "title", "description", "available_from")
    row = {name: getattr(item, name) for name in names}
    row = {name: value for name, value in row.items() if value not in (None, "")}
    return row | _attribute_row(item.attributes)


def _attribute_row(attributes: Mapping[str, Attribute]) -> Row:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in attributes.items()
    }


def _event_row(event: Event) -> Row:
    row = {name: getattr(event, name) for name in event.__slots__}
    return {name: value for name, value in row.items() if value not in (None, "")}


def _write_parquet(
    path: Path,
    columns: Mapping[str, Sequence[Any]],
    attributes: Sequence[Mapping[str, Attribute]],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {
        name: pa.array(values, "float64" if name == "available_from" else "string")
        for name, values in columns.items()
    }
    for name in dict.fromkeys(name for row in attributes for name in row):
        kind, cells = _as_one_kind([row.get(name) for row in attributes])
        types = {"number": pa.float64(), "text": pa.string(), "list": pa.list_(pa.string())}
        arrays[name] = pa.array(cells, types[kind])
    pq.write_table(pa.table(arrays), path, compression="zstd")


def _as_one_kind(values: Sequence[Attribute | None]) -> tuple[str, list[Any]]:
    """Values of one attribute as numbers, as lists of texts if one is a list, else as texts."""
    given = [value for value in values if value is not None]
    if all(isinstance(value, float) for value in given):
        return "number", list(values)
    if any(isinstance(value, tuple) for value in given):
        return "list", [None if value is None else _as_list(value) for value in values]
    return "text", [None if value is None else str(value) for value in values]


def _as_list(value: Attribute) -> list[str]:
    return list(value) if isinstance(value, tuple) else [str(value)]
