"""What the formats of other engines share: the two protocols, JSON lines, attributes, times."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from serendip.data.attributes import Attribute
from serendip.data.event import Event
from serendip.data.files.columns import guess_mapping
from serendip.data.files.tables import open_text
from serendip.data.files.times import parse_time
from serendip.data.item import Item
from serendip.data.log.event_table import list_events
from serendip.data.store.store import StoreTables
from serendip.data.store.validation import event_problem, item_problem, user_problem
from serendip.data.user import User
from serendip.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
T = TypeVar("T")

_AT_ONCE = 65_536


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


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, for errors.

    Args:
        path: of the file.
        line: its number, from 1.
    """

    path: Path
    line: int

    def refuse(self, problem: str) -> DataError:
        """The error of a line that cannot be read."""
        return DataError(
            f"{self.path.name}, line {self.line}: {problem}.",
            "Nothing was written. Correct or remove this line.",
        )


@dataclass(slots=True)
class ForeignFiles(ABC):
    """Reads the files of one engine, in any order of the files.

    Args:
        paths: of the files.

    Attributes:
        left_out: why a row was left out -> number of such rows.
    """

    paths: Sequence[Path]
    left_out: dict[str, int] = field(default_factory=dict)

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

    def valid_items(self) -> list[Item]:
        """All items.

        Raises:
            DataError: an item is invalid.
        """
        found = {item.item_id: item for item in _checked(self.items(), item_problem)}
        return list(found.values())

    def valid_users(self) -> list[User]:
        """All users with attributes.

        Raises:
            DataError: a user is invalid.
        """
        found = {user.user_id: user for user in _checked(self.users(), user_problem)}
        return [user for user in found.values() if user.attributes]

    def valid_events(self) -> Iterator[Event]:
        """Yield all events.

        Raises:
            DataError: an event is invalid.
        """
        return _checked(self.events(), event_problem)


def _checked(values: Iterable[tuple[Place, T]], problem_of: Callable[[T], str]) -> Iterator[T]:
    for place, value in values:
        if problem := problem_of(value):
            raise place.refuse(problem)
        yield value


def read_objects(path: Path) -> Iterator[tuple[Place, Row]]:
    """Yield the JSON object of every line; blank lines are skipped.

    Raises:
        DataError: a line is no JSON object.
    """
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if line.isspace():
                continue
            place = Place(path, number)
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise place.refuse(f"not JSON ({error})") from None
            if not isinstance(values, dict):
                raise place.refuse("not a JSON object")
            yield place, values


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
    """Attributes of JSON values: objects become ``outer.inner``, what is empty is left out."""
    attributes: dict[str, Attribute] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            inner = read_attributes(value)
            attributes |= {f"{name}.{key}": attribute for key, attribute in inner.items()}
        elif isinstance(value, list):
            if texts := tuple(filter(None, map(read_text, value))):
                attributes[name] = texts
        elif isinstance(value, int | float) and not isinstance(value, bool):
            attributes[name] = float(value)
        elif text := read_text(value):
            attributes[name] = text
    return attributes


def read_text(value: Any) -> str:
    """A JSON value as a text; null is empty."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def read_number(value: Any, name: str, place: Place) -> float | None:
    """A JSON number, or a text that spells one; empty or null is None.

    Raises:
        DataError: it is something else, or not finite.
    """
    if value in (None, ""):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise place.refuse(f"{name} {str(value)[:40]!r} is not a finite number")
    return number


def read_time(value: Any, place: Place) -> float:
    """A JSON number or text as Unix seconds, see ``parse_time``.

    Raises:
        DataError: it is no time.
    """
    try:
        return parse_time(read_text(value))
    except ValueError as error:
        raise place.refuse(str(error)) from None


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
