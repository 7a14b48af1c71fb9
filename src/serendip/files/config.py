"""Readers of users' files: settings of the columns, and the opened files.

``item_reader.py`` and ``event_reader.py`` read the rows. A reader knows columns and values, never
the store. Every cell counts as text, so that "1" stays "1" and a wrong value is reported with file
and line. A file with a single broken row is refused, because half an import is worse than none: the
error counts all broken rows and names the first ones with their places.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from serendip.config import Config
from serendip.data.limits import MAX_ATTRIBUTES
from serendip.errors import DataError
from serendip.files.attributes import AttributeCells
from serendip.files.encodings import check_encoding
from serendip.files.events import EventsRead
from serendip.files.items import ItemsRead, TitleStyle
from serendip.files.names import REQUIRED, TableKind, canonical_columns, guess_mapping
from serendip.files.numbers import DecimalSign
from serendip.files.tables import open_table
from serendip.files.times import TimeFormat, check_time_format, check_time_zone
from serendip.files.users import UsersRead


class ItemsConfig(Config):
    """The items file and the meaning of its columns."""

    path: str = ""
    """CSV, JSON (lines or an array) or Parquet, relative to the workspace; empty = no file."""

    encoding: Annotated[str, AfterValidator(check_encoding)] = ""
    """Of a CSV or JSON file, as Python names it: ``cp1252``, ``cp949``; empty = UTF-8."""

    time_format: Annotated[str, AfterValidator(check_time_format)] = ""
    """Of times that are neither numbers nor ISO 8601, as ``%d.%m.%Y %H:%M``; see ``strptime``.
    Several are separated by `` | ``."""

    time_zone: Annotated[str, AfterValidator(check_time_zone)] = ""
    """Of times without an offset, as ``Europe/Berlin``; empty = UTC."""

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

    columns: dict[str, str] = Field(default_factory=dict)
    """Canonical column -> file column; empty = guessed from the names in the file."""

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        _check_mapping(self.columns, "items")
        return self

    @property
    def cells(self) -> AttributeCells:
        """How cells of attributes are read."""
        return AttributeCells(self.list_separator, self.level_separators, self.decimals)


class EventsConfig(Config):
    """The events file and the meaning of its columns."""

    path: str = ""
    """CSV, JSON (lines or an array) or Parquet, relative to the workspace; empty = no file."""

    encoding: Annotated[str, AfterValidator(check_encoding)] = ""
    """Of a CSV or JSON file, as Python names it: ``cp1252``, ``cp949``; empty = UTF-8."""

    time_format: Annotated[str, AfterValidator(check_time_format)] = ""
    """Of times that are neither numbers nor ISO 8601, as ``%d.%m.%Y %H:%M``; see ``strptime``.
    Several are separated by `` | ``."""

    time_zone: Annotated[str, AfterValidator(check_time_zone)] = ""
    """Of times without an offset, as ``Europe/Berlin``; empty = UTC."""

    decimal: DecimalSign | Literal[""] = ""
    """Sign before the decimals of ``value`` if it is written for people: with ``,`` ``1.234,56 €``
    is 1234.56; empty = it is written as by a program."""

    default_action: str = "click"
    """Action of rows without one."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Canonical column -> file column; empty = guessed from the names in the file."""

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        _check_mapping(self.columns, "events")
        return self


class UsersConfig(Config):
    """The users file and the meaning of its columns; every other column is an attribute."""

    path: str = ""
    """CSV, JSON (lines or an array) or Parquet, relative to the workspace; empty = no file."""

    encoding: Annotated[str, AfterValidator(check_encoding)] = ""
    """Of a CSV or JSON file, as Python names it: ``cp1252``, ``cp949``; empty = UTF-8."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Canonical column -> file column; empty = guessed from the names in the file."""

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        _check_mapping(self.columns, "users")
        return self


def read_items(config: ItemsConfig, base_folder: Path) -> ItemsRead:
    """Open an items file and map its columns; iterate the result to read it.

    Raises:
        DataError: the file is missing or unreadable, or a column is not in it.
    """
    if not config.path:
        return ItemsRead(None, {}, {}, AttributeCells(config.list_separator), config.title_style)
    path = base_folder / config.path
    columns = open_table(path, config.encoding).columns
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
    for name in (*config.level_separators, *config.decimals, *config.units):
        if name not in attributes:
            raise DataError(
                f"[items] names the attribute {name!r}, which {path.name} does not have.",
                f"Its attributes: {', '.join(attributes) or 'none'}.",
            )
    cells = config.cells
    times = TimeFormat(config.time_format, config.time_zone)
    return ItemsRead(
        *(path, mapping, attributes, cells, config.title_style),
        encoding=config.encoding,
        times=times,
    )


def read_events(config: EventsConfig, base_folder: Path) -> EventsRead:
    """Open an events file and map its columns; iterate the result to read it.

    Raises:
        DataError: the file is missing or unreadable, or a column is not in it.
    """
    if not config.path:
        return EventsRead(None, {}, config.default_action)
    path = base_folder / config.path
    mapping = _map_columns(
        config.columns, open_table(path, config.encoding).columns, "events", path
    )
    return EventsRead(
        *(path, mapping, config.default_action),
        encoding=config.encoding,
        times=TimeFormat(config.time_format, config.time_zone),
        decimal=config.decimal,
    )


def read_users(config: UsersConfig, base_folder: Path) -> UsersRead:
    """Open a users file and map its columns.

    Raises:
        DataError: the file is missing or unreadable, or a column is not in it.
    """
    if not config.path:
        return UsersRead(None, {}, {})
    path = base_folder / config.path
    columns = open_table(path, config.encoding).columns
    mapping = _map_columns(config.columns, columns, "users", path)
    mapped = set(mapping.values())
    attributes = {name: name for name in columns if name not in mapped}
    return UsersRead(path, mapping, attributes, config.encoding)


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
