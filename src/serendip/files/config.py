"""Settings of users' files and their columns.

``items.py``, ``events.py`` and ``users.py`` read the rows. A reader knows columns and values, never
the store. Every cell counts as text, so that "1" stays "1" and a wrong value is reported with file
and line. A file with a single broken row is refused, because half an import is worse than none: the
error counts all broken rows and names the first ones with their places.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from serendip.config import Config
from serendip.data.items.attributes import AttributeKind
from serendip.data.items.catalogue import Item
from serendip.data.text import plain_title
from serendip.errors import DataError
from serendip.files.cells import AttributeCells, DecimalSign
from serendip.files.encodings import check_encoding
from serendip.files.names import REQUIRED, TableKind, canonical_columns, guess_mapping
from serendip.files.tables import open_table
from serendip.files.times import TimeFormat, check_time_format, check_time_zone

TitleStyle = Literal["plain", "library"]


class TableConfig(Config):
    """A file and the meaning of its columns."""

    kind: ClassVar[TableKind]

    path: str = ""
    """CSV, JSON (lines or an array) or Parquet, relative to the workspace; empty = no file."""

    encoding: Annotated[str, AfterValidator(check_encoding)] = ""
    """Of a CSV or JSON file, as Python names it: ``cp1252``, ``cp949``; empty = UTF-8."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Canonical column -> file column; empty = guessed from the names in the file."""

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        canonical = canonical_columns(self.kind)
        for name in self.columns:
            if name not in canonical:
                known = ", ".join(canonical)
                raise ValueError(f"`{name}` is not a column of {self.kind}; known: {known}")
        missing = [
            name for name in REQUIRED[self.kind] if self.columns and name not in self.columns
        ]
        if missing:
            raise ValueError(f"`{missing[0]}` is not mapped to a column of the file")
        return self

    def open(self, base_folder: Path) -> tuple[Path, Sequence[str], dict[str, str]]:
        """Path of the file, its columns, and canonical column -> file column.

        Raises:
            DataError: the file is missing or unreadable, or a column is not in it.
        """
        path = base_folder / self.path
        columns = open_table(path, self.encoding).columns
        if self.columns:
            require_columns(self.columns.values(), columns, path.name)
            return path, columns, dict(self.columns)
        mapping = guess_mapping(columns, self.kind)
        for name in REQUIRED[self.kind]:
            if name not in mapping:
                raise DataError(
                    f"{path.name}: no column looks like `{name}`; found: {', '.join(columns)}.",
                    f"Name it in serendip.toml under [{self.kind}.columns].",
                )
        return path, columns, mapping


class TimedConfig(TableConfig):
    """A file with times."""

    time_format: Annotated[str, AfterValidator(check_time_format)] = ""
    """Of times that are neither numbers nor ISO 8601, as ``%d.%m.%Y %H:%M``; see ``strptime``.
    Several are separated by `` | ``."""

    time_zone: Annotated[str, AfterValidator(check_time_zone)] = ""
    """Of times without an offset, as ``Europe/Berlin``; empty = UTC."""

    @property
    def times(self) -> TimeFormat:
        """How times are written."""
        return TimeFormat(self.time_format, self.time_zone)


class ItemsConfig(TimedConfig):
    """The items file and the meaning of its columns."""

    kind = "items"

    from_events: bool = False
    """Items that the events file names and no items file has are items, too: of an id alone."""

    list_separator: str = "|"
    """Splits cells into lists, in every attribute column that contains it; empty = never."""

    level_separators: dict[str, str] = Field(default_factory=dict)
    """Attributes with paths of categories, such as ``Home > Kitchen``: attribute -> what separates
    the levels, which become a list."""

    decimals: dict[str, DecimalSign] = Field(default_factory=dict)
    """Attributes with numbers that are written for people, such as ``1.234,56 €``: attribute -> its
    decimal sign. Currency, per cent and thousands are left out; a cell that is no number then has
    no value."""

    units: dict[str, str] = Field(default_factory=dict)
    """What the page shows behind the numbers of an attribute: attribute -> its unit, such as
    ``EUR``."""

    title_style: TitleStyle = "plain"
    """``library`` turns "Matrix, The (1999)" into "The Matrix" with the year as an attribute."""

    attributes: tuple[str, ...] | dict[str, str] | None = None
    """Further file columns to keep, or attribute name -> file column; default: all others."""

    @property
    def cells(self) -> AttributeCells:
        """How cells of attributes are read."""
        return AttributeCells(self.list_separator, self.level_separators, self.decimals)

    def read_posted(self, item: Item, kind_of: Callable[[str], AttributeKind]) -> Item:
        """A posted item, with title and attributes as those of the file are read.

        The kind of an attribute in the catalogue counts if there is a file.
        """
        attributes = self.cells.read_posted(item.attributes, kind_of if self.path else None)
        if self.title_style != "library":
            return replace(item, attributes=attributes)
        title, year = plain_title(item.title)
        if year is not None:
            attributes.setdefault("year", year)
        return replace(item, title=title, attributes=attributes)


class EventsConfig(TimedConfig):
    """The events file and the meaning of its columns."""

    kind = "events"

    decimal: DecimalSign | Literal[""] = ""
    """Sign before the decimals of numbers, such as ``value``, if they are written for people: with
    ``,`` ``1.234,56 €`` is 1234.56; empty = they are written as by a program."""

    default_action: str = "click"
    """Action of rows without one."""


class UsersConfig(TableConfig):
    """The users file and the meaning of its columns; every other column is an attribute."""

    kind = "users"


def other_columns(columns: Sequence[str], mapping: Mapping[str, str]) -> list[str]:
    """Columns that are not mapped."""
    mapped = set(mapping.values())
    return [name for name in columns if name not in mapped]


def require_columns(names: Iterable[str], columns: Sequence[str], file: str) -> None:
    """Refuse names of columns that a file does not have.

    Raises:
        DataError: it names the first one, and one that is spelt alike.
    """
    for name in names:
        if name not in columns:
            close = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]!r}?" if close else "Name one of these."
            raise DataError(f"{file} has no column {name!r}; found: {', '.join(columns)}.", hint)
