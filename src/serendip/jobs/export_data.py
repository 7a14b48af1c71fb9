"""``serendip export``: items, users and events in open formats, and in those of other engines.

One consistent snapshot is written, events in order of arrival. Of ``parquet`` and ``jsonl`` an
import makes the same items, users and events again: a ``serendip.toml`` beside them says how.
The others have what their engines can take:

- ``gorse``: JSON lines as its API takes them, ``UserId``, ``ItemId``, ``FeedbackType``, ...
- ``recbole``: atomic files, ``data.inter``, ``data.item`` and ``data.user``, with typed headers
- ``opensearch``: bulk requests of the items
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from serendip.data.attributes import Attribute
from serendip.data.event import Event
from serendip.data.item import Item
from serendip.data.log.event_table import list_events
from serendip.data.store.store import Store, StoreTables
from serendip.data.user import User
from serendip.engine.workspace import SETTINGS_FILE, Workspace
from serendip.errors import ConfigError, StorageError
from serendip.jobs.noted_export import NotedExport
from serendip.runtime.atomic_files import flush_tree
from serendip.runtime.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

_AT_ONCE = 65_536
_TRIES = 3
"""Times that all is written if users or items are erased meanwhile."""

Row = dict[str, Any]


def export(
    workspace: Workspace, out: Path, format_name: str, progress: Progress
) -> dict[str, str | int]:
    """Write everything that the database and the event log have into a new folder.

    Args:
        workspace: to export.
        out: missing or empty.
        format_name: see ``FORMATS``.
        progress: of the tables.

    Returns:
        ``out``, ``format``, and the numbers of items, users and events.

    Raises:
        ConfigError: the format is unknown, or the folder is not empty.
        StorageError: something cannot be read or written.
    """
    if format_name not in FORMATS:
        raise ConfigError(
            f"format {format_name[:40]!r} is unknown.", f"Use one of: {', '.join(FORMATS)}."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not empty.", "Give each export a folder of its own.")
    with closing(workspace.open_store()) as store:
        tables = _write(workspace, store, out, FORMATS[format_name](), progress)
    counts = {"items": len(tables.items), "users": len(tables.users), "events": len(tables.events)}
    return {"out": os.fspath(out), "format": format_name, **counts}


def _write(
    workspace: Workspace, store: Store, out: Path, writer: ExportFormat, progress: Progress
) -> StoreTables:
    """Write the tables, and again, a few times, if somebody was erased meanwhile."""
    for _ in range(_TRIES):
        noted = NotedExport(workspace, store, out)
        tables = store.tables()
        steps: Sequence[Callable[[], None]] = (
            partial(writer.write_items, out, tables.items),
            partial(writer.write_users, out, tables.users),
            partial(writer.write_events, out, tables.events),
            partial(writer.write_settings, out, tables),
        )
        try:
            out.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in out.iterdir():
                path.unlink()
            for step in progress.track(steps, "tables", len(steps)):
                step()
            flush_tree(out)
        except OSError as error:
            raise StorageError(f"{out} cannot be written: {error}.") from None
        noted.end()
        if not noted.has_erased():
            break
    return tables


class ExportFormat(Protocol):
    """Writes the tables of one format."""

    def write_items(self, folder: Path, items: Sequence[Item]) -> None:
        """Write the items."""

    def write_users(self, folder: Path, users: Sequence[User]) -> None:
        """Write the users with attributes, where the format has a place for them."""

    def write_events(self, folder: Path, events: pa.Table) -> None:
        """Write the events, see ``event_table``, where the format has a place for them."""

    def write_settings(self, folder: Path, tables: StoreTables) -> None:
        """Write how the files are read again, where they are meant for that."""


class OpenFormat(ExportFormat):
    """Files that an import reads as they were."""

    ending: ClassVar[str]

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
        _write_lines(folder / "items.jsonl", items, _item_row)

    def write_users(self, folder: Path, users: Sequence[User]) -> None:
        """``users.jsonl``."""
        if users:
            _write_lines(
                folder / "users.jsonl", users, lambda user: {"user_id": user.user_id} | _of(user)
            )

    def write_events(self, folder: Path, events: pa.Table) -> None:
        """``events.jsonl``."""
        if len(events):
            _write_lines(folder / "events.jsonl", _events(events), _event_row)


class GorseFormat(ExportFormat):
    """JSON lines of Gorse's users, items and feedback; a query without an item has no place."""

    def write_items(self, folder: Path, items: Sequence[Item]) -> None:
        """``items.jsonl``."""

        def row(item: Item) -> Row:
            texts = {"title": item.title, "description": item.description}
            labels = {name: text for name, text in texts.items() if text} | _of(item)
            return {
                "ItemId": item.item_id,
                "IsHidden": False,
                "Categories": [],
                "Timestamp": _iso(item.available_from or 0.0),
                "Labels": labels,
                "Comment": item.title,
            }

        _write_lines(folder / "items.jsonl", items, row)

    def write_users(self, folder: Path, users: Sequence[User]) -> None:
        """``users.jsonl``."""
        _write_lines(
            folder / "users.jsonl",
            users,
            lambda user: {"UserId": user.user_id, "Labels": _of(user), "Comment": ""},
        )

    def write_events(self, folder: Path, events: pa.Table) -> None:
        """``feedback.jsonl``."""

        def row(event: Event) -> Row:
            return {
                "FeedbackType": event.action,
                "UserId": event.user_id,
                "ItemId": event.item_id,
                "Value": 1.0 if event.value is None else event.value,
                "Timestamp": _iso(event.timestamp),
            }

        chosen = (event for event in _events(events) if event.item_id)
        _write_lines(folder / "feedback.jsonl", chosen, row)


class RecBoleFormat(ExportFormat):
    """Atomic files of RecBole: columns between tabs, types in the header, lists between blanks."""

    def write_items(self, folder: Path, items: Sequence[Item]) -> None:
        """``data.item``."""
        columns: dict[str, Sequence[Any]] = {
            "item_id:token": [item.item_id for item in items],
            "title:token_seq": [item.title for item in items],
        }
        columns |= _typed([item.attributes for item in items])
        _write_tabs(folder / "data.item", columns)

    def write_users(self, folder: Path, users: Sequence[User]) -> None:
        """``data.user``."""
        if users:
            columns: dict[str, Sequence[Any]] = {"user_id:token": [user.user_id for user in users]}
            _write_tabs(folder / "data.user", columns | _typed([user.attributes for user in users]))

    def write_events(self, folder: Path, events: pa.Table) -> None:
        """``data.inter``."""
        chosen = [event for event in _events(events) if event.item_id]
        columns: dict[str, Sequence[Any]] = {
            "user_id:token": [event.user_id for event in chosen],
            "item_id:token": [event.item_id for event in chosen],
            "action:token": [event.action for event in chosen],
            "timestamp:float": [event.timestamp for event in chosen],
        }
        if any(event.value is not None for event in chosen):
            columns["rating:float"] = [event.value for event in chosen]
        _write_tabs(folder / "data.inter", columns)


class OpenSearchFormat(ExportFormat):
    """Bulk requests that index the items: an action line, then a document line."""

    def write_items(self, folder: Path, items: Sequence[Item]) -> None:
        """``items.ndjson``, for ``POST /items/_bulk``."""
        with (folder / "items.ndjson").open("w", encoding="utf-8") as file:
            for item in items:
                file.write(_line({"index": {"_id": item.item_id}}))
                file.write(_line(_item_row(item)))


FORMATS: Mapping[str, Callable[[], ExportFormat]] = {
    "parquet": ParquetFormat,
    "jsonl": JsonFormat,
    "gorse": GorseFormat,
    "recbole": RecBoleFormat,
    "opensearch": OpenSearchFormat,
}


def _item_row(item: Item) -> Row:
    texts = {"item_id": item.item_id, "title": item.title, "description": item.description}
    row: Row = {name: text for name, text in texts.items() if text}
    if item.available_from is not None:
        row["available_from"] = item.available_from
    return row | _of(item)


def _of(owner: Item | User) -> Row:
    """Attributes as JSON has them."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in owner.attributes.items()
    }


def _event_row(event: Event) -> Row:
    row = {name: getattr(event, name) for name in event.__slots__}
    return {name: value for name, value in row.items() if value not in (None, "")}


def _events(table: pa.Table) -> Iterator[Event]:
    for begin in range(0, len(table), _AT_ONCE):
        yield from list_events(table.slice(begin, _AT_ONCE))


def _write_lines(path: Path, values: Iterable[Any], row: Callable[[Any], Row]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_line(row(value)) for value in values)


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


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


def _typed(attributes: Sequence[Mapping[str, Attribute]]) -> dict[str, Sequence[Any]]:
    """Columns of attributes with RecBole's types."""
    types = {"number": "float", "text": "token", "list": "token_seq"}
    columns: dict[str, Sequence[Any]] = {}
    for name in dict.fromkeys(name for row in attributes for name in row):
        kind, cells = _as_one_kind([row.get(name) for row in attributes])
        columns[f"{name}:{types[kind]}"] = cells
    return columns


def _write_tabs(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("\t".join(columns) + "\n")
        for row in zip(*columns.values(), strict=True):
            file.write("\t".join(map(_tab_cell, row)) + "\n")


def _tab_cell(value: Any) -> str:
    """A cell without tabs and line ends; the words of a list member are joined by ``_``."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join("_".join(text.split()) for text in value)
    return " ".join(str(value).split())


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
