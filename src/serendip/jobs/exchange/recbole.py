"""RecBole: atomic files, ``data.inter``, ``data.item`` and ``data.user``, with typed headers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from serendip.data.events.event import Event
from serendip.data.files.columns import guess_mapping
from serendip.data.items.attributes import Attribute
from serendip.data.items.catalogue import Item
from serendip.data.users.user import User
from serendip.errors import DataError
from serendip.jobs.exchange.open_formats import as_one_kind
from serendip.jobs.exchange.rows import (
    BrokenRow,
    ExportFormat,
    ForeignFiles,
    Place,
    iterate_events,
    read_lines,
    read_number,
    read_time,
    text_names,
)

if TYPE_CHECKING:
    import pyarrow as pa


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
        chosen = [event for event in iterate_events(events) if event.item_id]
        columns: dict[str, Sequence[Any]] = {
            "user_id:token": [event.user_id for event in chosen],
            "item_id:token": [event.item_id for event in chosen],
            "action:token": [event.action for event in chosen],
            "timestamp:float": [event.timestamp for event in chosen],
        }
        if any(event.value is not None for event in chosen):
            columns["rating:float"] = [event.value for event in chosen]
        _write_tabs(folder / "data.inter", columns)


def _typed(attributes: Sequence[Mapping[str, Attribute]]) -> dict[str, Sequence[Any]]:
    """Columns of attributes with RecBole's types."""
    types = {"number": "float", "text": "token", "list": "token_seq"}
    columns: dict[str, Sequence[Any]] = {}
    for name in dict.fromkeys(name for row in attributes for name in row):
        kind, cells = as_one_kind([row.get(name) for row in attributes])
        columns[f"{name}:{types[kind]}"] = cells
    return columns


def _write_tabs(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("\t".join(map(_tab_cell, columns)) + "\n")
        for row in zip(*columns.values(), strict=True):
            file.write("\t".join(map(_tab_cell, row)) + "\n")


def _tab_cell(value: Any) -> str:
    """A cell without tabs and line ends; the words of a list member are joined by ``_``."""
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join("_".join(text.split()) for text in value)
    return " ".join(str(value).split())


_ENDINGS = (".inter", ".item", ".user")
_UNUSED = (".kg", ".link", ".net")
"""Endings of graphs, which have no place here."""

_NAMES = ("user_id", "item_id", "timestamp", "action", "value", "query", "session_id")
"""Fields of an event that a column of interactions may be, by its name."""


class RecBoleFiles(ForeignFiles):
    """Atomic files of RecBole; what a row is, the ending of its file says.

    The types of the header are those of the attributes: numbers, texts, and lists between blanks.
    """

    def items(self) -> Iterator[tuple[Place, Item]]:
        """Yield the rows of ``.item``."""
        self._check_endings()
        for file in self._files(".item"):
            title, description = text_names(name for name in file.types if name != "item_id")
            for place, line in file.lines:
                with self.row(place):
                    cells = file.cells(line)
                    texts = {name: cells.pop(name, "") for name in ("item_id", title, description)}
                    item_id, attributes = texts["item_id"], file.attributes(cells)
                    yield place, Item(item_id, texts[title], texts[description], attributes)

    def users(self) -> Iterator[tuple[Place, User]]:
        """Yield the rows of ``.user``."""
        for file in self._files(".user"):
            for place, line in file.lines:
                with self.row(place):
                    cells = file.cells(line)
                    user_id = cells.pop("user_id", "")
                    yield place, User(user_id, file.attributes(cells))

    def events(self) -> Iterator[tuple[Place, Event]]:
        """Yield the rows of ``.inter``."""
        for file in self._files(".inter"):
            columns = guess_mapping(tuple(file.types), "events")
            for place, line in file.lines:
                with self.row(place):
                    cells = file.cells(line)
                    values = {name: cells[columns[name]] for name in _NAMES if name in columns}
                    yield place, _event(values)

    def _check_endings(self) -> None:
        """Count the files that have no place here.

        Raises:
            DataError: a file is none of RecBole.
        """
        for path in self.paths:
            ending = _ending(path)
            if ending in _UNUSED:
                self.leave_out(f"files {ending}")
            elif ending not in _ENDINGS:
                raise DataError(
                    f"{path.name}: RecBole has no such files.",
                    f"Give files that end in {', '.join(_ENDINGS)}, also with .gz.",
                )

    def _files(self, ending: str) -> Iterator[_AtomicFile]:
        """The files of an ending, without those whose header is broken."""
        for path in self.paths:
            if _ending(path) == ending:
                lines = read_lines(path)
                place, header = next(lines, (Place(path, 1), ""))
                with self.row(place):
                    yield _AtomicFile(_read_header(header), lines)


def _ending(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix


def _read_header(line: str) -> dict[str, str]:
    """Name of a column -> its type, in the order of the columns."""
    header = _cells(line)
    types = {name: kind for name, _, kind in (column.rpartition(":") for column in header) if name}
    if len(types) < len(header):
        raise BrokenRow("a column has no type, such as `item_id:token`, or is there twice")
    return types


class _AtomicFile(NamedTuple):
    """A file whose header names columns with their types, ``price:float``.

    Args:
        types: name of a column -> its type, in the order of the columns.
        lines: those behind the header.
    """

    types: Mapping[str, str]
    lines: Iterable[tuple[Place, str]]

    def cells(self, line: str) -> dict[str, str]:
        """The cells of a line by name."""
        cells = _cells(line)
        if len(cells) != len(self.types):
            raise BrokenRow(f"{len(cells)} cells for {len(self.types)} columns")
        return dict(zip(self.types, cells, strict=True))

    def attributes(self, cells: Mapping[str, str]) -> dict[str, Attribute]:
        """The filled cells as what their types say."""
        attributes: dict[str, Attribute] = {}
        for name, cell in cells.items():
            if not cell:
                continue
            if self.types[name] == "float":
                attributes[name] = read_number(cell, name) or 0.0
            else:
                is_list = self.types[name].endswith("_seq")
                attributes[name] = tuple(cell.split()) if is_list else cell
        return attributes


def _cells(line: str) -> list[str]:
    return line.rstrip("\r\n").split("\t")


def _event(values: Mapping[str, str]) -> Event:
    value = values.get("value")
    return Event(
        user_id=values.get("user_id", ""),
        item_id=values.get("item_id", ""),
        timestamp=read_time(values.get("timestamp")),
        action=values.get("action") or ("rate" if value else "click"),
        value=read_number(value, "value"),
        query=values.get("query", ""),
        session_id=values.get("session_id", ""),
    )
