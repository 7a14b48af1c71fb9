"""What the formats of other engines share: the two protocols, JSON lines, attributes."""

from __future__ import annotations

import json
import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from serendip.data.events.event import Event
from serendip.data.files.broken_rows import SHOWN, count_broken
from serendip.data.files.columns import guess_mapping
from serendip.data.files.tables import open_text
from serendip.data.items.attributes import Attribute
from serendip.data.items.catalogue import Item
from serendip.data.log.event_table import list_events
from serendip.data.store.store import StoreTables
from serendip.data.store.validation import event_problem, item_problem, user_problem
from serendip.data.users.user import User
from serendip.errors import DataError
from serendip.jobs.exchange.times import read_moment

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]

ITEM_COLUMNS = ("item_id", "title", "description", "available_from")
USER_COLUMNS = ("user_id",)
"""Columns of the files of items and users that are no attributes."""

_AT_ONCE = 65_536
_MOST_BROKEN = 1000
"""Broken rows behind which the others are not read."""


class ExportFormat(Protocol):
    """Writes the tables of one format."""

    def write_items(self, folder: Path, items: Sequence[Item]) -> None:
        """Write the items, where the format has a place for them."""

    def write_users(self, folder: Path, users: Sequence[User]) -> None:
        """Write the users with attributes, where the format has a place for them."""

    def write_events(self, folder: Path, events: pa.Table) -> None:
        """Write the events, see ``event_table``, where the format has a place for them."""

    def write_settings(self, folder: Path, tables: StoreTables) -> None:
        """Write how the files are read again, where they are meant for that."""


class BrokenRow(Exception):
    """Why a row cannot be read; ``ForeignFiles.row`` notes it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, for errors.

    Args:
        path: of the file.
        line: its number, from 1.
    """

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path.name}, line {self.line}"


@dataclass(slots=True)
class ForeignFiles(ABC):
    """Reads the files of one engine, in any order of the files.

    Args:
        paths: of the files.

    Attributes:
        left_out: why a row was left out -> number of such rows.
        broken: place of a row that cannot be read -> why; complete once all was read.
    """

    paths: Sequence[Path]
    left_out: dict[str, int] = field(default_factory=dict)
    broken: dict[Place, str] = field(default_factory=dict)

    @abstractmethod
    def items(self) -> Iterable[tuple[Place, Item]]:
        """Yield the items; the last of equal ids counts."""

    @abstractmethod
    def users(self) -> Iterable[tuple[Place, User]]:
        """Yield the users; the last of equal ids counts."""

    @abstractmethod
    def events(self) -> Iterable[tuple[Place, Event]]:
        """Yield the events, in the order in which an import keeps them."""

    def leave_out(self, reason: str) -> None:
        """Count a row that has no place here."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def row(self, place: Place) -> AbstractContextManager[None]:
        """Read one row in the block: if it is broken, note why, and go on behind the block."""
        return _OneRow(self, place)

    def objects(self) -> Iterator[tuple[Place, Row]]:
        """Yield the JSON object of every line of all files; blank lines are skipped.

        Raises:
            DataError: a file cannot be read.
        """
        for path in self.paths:
            for place, line in read_lines(path):
                if not line.isspace():
                    with self.row(place):
                        yield place, _read_object(line)

    def valid_items(self) -> list[Item]:
        """All items, but for those in ``broken``."""
        found: dict[str, Item] = {}
        for place, item in self.items():
            attributes = self._beside(item.attributes, ITEM_COLUMNS)
            valid = replace(item, attributes=attributes)
            if self._is_valid(place, item_problem(valid)):
                found[item.item_id] = valid
        return list(found.values())

    def valid_users(self) -> list[User]:
        """All users with attributes, but for those in ``broken``."""
        found: dict[str, User] = {}
        for place, user in self.users():
            valid = User(user.user_id, self._beside(user.attributes, USER_COLUMNS))
            if self._is_valid(place, user_problem(valid)):
                found[user.user_id] = valid
        return [user for user in found.values() if user.attributes]

    def valid_events(self) -> Iterator[Event]:
        """Yield all events, but for those in ``broken``."""
        for place, event in self.events():
            if self._is_valid(place, event_problem(event)):
                yield event

    def refuse_broken(self) -> None:
        """Refuse the files if a row is broken.

        Raises:
            DataError: with the number of these rows, and with places and reasons of the first.
        """
        if self.broken:
            order = {path: number for number, path in enumerate(self.paths)}
            places = sorted(self.broken, key=lambda place: (order[place.path], place.line))
            first = [(str(place), self.broken[place]) for place in places[:SHOWN]]
            rest = " The rest was not read." if len(places) == _MOST_BROKEN else ""
            raise DataError(
                count_broken(len(places), first),
                f"Nothing was written.{rest} Correct or remove these rows.",
            )

    def _is_valid(self, place: Place, problem: str) -> bool:
        if problem:
            self.note(place, problem)
        return not problem

    def note(self, place: Place, reason: str) -> None:
        """Note a broken row; a row that is read more than once is noted once."""
        self.broken.setdefault(place, reason)
        if len(self.broken) >= _MOST_BROKEN:
            self.refuse_broken()

    def _beside(
        self, attributes: Mapping[str, Attribute], columns: Collection[str]
    ) -> dict[str, Attribute]:
        """Attributes without those that would take the place of a column."""
        for _ in attributes.keys() & columns:
            self.leave_out("fields with the name of a column")
        return {name: value for name, value in attributes.items() if name not in columns}


class _OneRow(AbstractContextManager[None]):
    """Notes a broken row; a class, as there is one for each row."""

    __slots__ = ("_files", "_place")

    def __init__(self, files: ForeignFiles, place: Place) -> None:
        self._files, self._place = files, place

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> bool:
        if isinstance(error, BrokenRow):
            self._files.note(self._place, str(error))
        elif isinstance(error, RecursionError):
            self._files.note(self._place, "its values are nested too deeply")
        else:
            return False
        return True


def read_lines(path: Path) -> Iterator[tuple[Place, str]]:
    """Yield the lines of a text file, with ``.gz`` a compressed one.

    Raises:
        DataError: it cannot be read.
    """
    number = 0
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, 1):
                yield Place(path, number), line
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path.name} cannot be read behind line {number}: {error}.",
            "Nothing was written. Is the file whole?",
        ) from None


def _read_object(line: str) -> Row:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise BrokenRow(f"not JSON ({error})") from None
    if not isinstance(values, dict):
        raise BrokenRow(f"{line.strip()[:40]!r} is not a JSON object")
    return values


def write_lines(path: Path, values: Iterable[Any], row: Callable[[Any], Row]) -> None:
    """Write the JSON object of every value on a line of its own."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json_line(row(value)) for value in values)


def json_line(row: Row) -> str:
    """An object as a line of JSON."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def iterate_events(table: pa.Table) -> Iterator[Event]:
    """Yield the events of a table, a part of it at a time."""
    for begin in range(0, len(table), _AT_ONCE):
        yield from list_events(table.slice(begin, _AT_ONCE))


def filled_row(**values: Any) -> Row:
    """The values that are neither missing nor empty."""
    return {name: value for name, value in values.items() if value not in (None, "", {}, [])}


def item_row(item: Item) -> Row:
    """An item as a JSON object, attributes beside its texts."""
    row = filled_row(
        item_id=item.item_id,
        title=item.title,
        description=item.description,
        available_from=item.available_from,
    )
    return row | attribute_row(item.attributes)


def attribute_row(attributes: Mapping[str, Attribute]) -> Row:
    """Attributes as JSON has them."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in attributes.items()
    }


def read_attributes(values: Mapping[str, Any]) -> dict[str, Attribute]:
    """Attributes of JSON values: objects become ``outer.inner``, what is empty is left out.

    Raises:
        BrokenRow: a number is not finite.
    """
    attributes: dict[str, Attribute] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            inner = read_attributes(value)
            attributes |= {f"{name}.{key}": attribute for key, attribute in inner.items()}
        elif isinstance(value, list):
            if texts := tuple(filter(None, map(read_text, value))):
                attributes[name] = texts
        elif isinstance(value, int | float) and not isinstance(value, bool):
            attributes[name] = _finite(value, name)
        elif text := read_text(value):
            attributes[name] = text
    return attributes


def read_text(value: Any) -> str:
    """A JSON value as a text; null is empty."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def read_number(value: Any, name: str) -> float | None:
    """A JSON number, or a text that spells one; empty or null is None.

    Raises:
        BrokenRow: it is something else, or not finite.
    """
    return None if value in (None, "") else _finite(value, name)


def _finite(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BrokenRow(f"{name[:80]} {str(value)[:40]!r} is not a finite number")
    return number


def read_time(value: Any, unit: str = "") -> float:
    """A JSON number or text as Unix seconds, see ``read_moment``.

    Raises:
        BrokenRow: it is no time, or an implausible one.
    """
    try:
        return read_moment(read_text(value), unit)
    except ValueError as error:
        raise BrokenRow(str(error)) from None


def iso_time(seconds: float) -> str:
    """Unix seconds as ISO 8601 in UTC, to the microsecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def text_names(names: Iterable[str]) -> tuple[str, str]:
    """Which attributes of items are title and description, by their names; empty = none is."""
    found = guess_mapping(tuple(dict.fromkeys(names)), "items", {"item_id": ""})
    return found.get("title", ""), found.get("description", "")


def item_with_texts(
    item_id: str, attributes: Mapping[str, Attribute], title: str, description: str
) -> Item:
    """An item whose title and description are taken out of its attributes, see ``text_names``."""
    rest = {name: value for name, value in attributes.items() if name not in (title, description)}
    return Item(item_id, _shown(attributes.get(title)), _shown(attributes.get(description)), rest)


def _shown(value: Attribute | None) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else value or ""
