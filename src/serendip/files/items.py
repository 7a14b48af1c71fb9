"""Reads an items file as an Arrow table, and a users file.

All cells of an attribute column have one type: list, number or text. DuckDB finds the types, splits
lists and writes the attributes. What may be invalid is looked at again, by the rules of
``store.validation``, which word the reasons.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serendip.data.items.attributes import Attribute, AttributeKind
from serendip.data.items.catalogue import Item
from serendip.data.limits import (
    EARLIEST,
    LATEST,
    MAX_ATTRIBUTE_VALUES,
    MAX_ATTRIBUTES,
    MAX_ID_BYTES,
    MAX_TEXT_CHARS,
    RESERVED_ENDING,
)
from serendip.data.store.item_rows import ITEM_NAMES, list_items, tabulate_items
from serendip.data.store.validation import id_problem, item_problem, user_problem
from serendip.data.text import plain_title
from serendip.data.users.user import COUNTRY, User
from serendip.errors import DataError
from serendip.files.cells import connect, quote, strip_sql, text_sql
from serendip.files.config import ItemsConfig, UsersConfig, other_columns, require_columns
from serendip.files.tables import Table, open_table

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_YEAR = "year"


@dataclass(frozen=True, slots=True)
class ItemsRead:
    """An opened items file.

    Args:
        path: the file; None if there is none.
        mapping: canonical column -> file column.
        attributes: attribute name -> file column.
    """

    config: ItemsConfig
    path: Path | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)

    def table(self) -> pa.Table:
        """All items, in the order of the file, including repeated ids.

        Raises:
            DataError: a row is broken; names file, count, first places and reasons.
        """
        if self.path is None:
            return tabulate_items([])
        table = open_table(self.path, self.config.encoding)
        items = self.read(table)
        table.refuse_broken(self._find_problems(items))
        return items.select(ITEM_NAMES)

    def sample(self, most: int) -> list[Item]:
        """The valid items among the first rows, which also decide the types of the columns."""
        if self.path is None:
            return []
        items = self.read(open_table(self.path, self.config.encoding), most)
        broken = {row for row, _ in self._find_problems(items)}
        return [item for row, item in enumerate(list_items(items)) if row not in broken]

    def __iter__(self) -> Iterator[Item]:
        """Yield the items of ``table``; for small files."""
        yield from list_items(self.table())

    def read(self, table: Table, most: int | None = None) -> pa.Table:
        """The columns of ``ITEM_NAMES``, ``doubtful`` and the text of ``available_from``.

        All rows are read unless ``most`` are given.
        """
        import pyarrow as pa

        batches = table.read(self._expressions(table), most=most)
        connection = connect()
        cells = self._with_titles(pa.Table.from_batches(batches))
        connection.register("cells", cells)
        kinds = self._kinds(connection, cells.column_names)
        return connection.sql(self._query(kinds, cells.column_names)).to_arrow_table()

    def _find_problems(self, items: pa.Table) -> Iterator[tuple[int, str]]:
        rows = np.flatnonzero(np.asarray(items["doubtful"].to_numpy(), np.bool_))
        doubtful = items.take(rows)
        columns = {**self.attributes, **self.mapping}
        since = doubtful["since"].to_pylist()
        for row, text, item in zip(rows.tolist(), since, list_items(doubtful), strict=True):
            pattern = self.config.time_format
            expected = f" like {pattern!r}" if pattern else ""
            unread = f"available_from {text[:40]!r} is not a time{expected}"
            is_unread = text and item.available_from is None
            if problem := unread if is_unread else item_problem(item, columns):
                yield row, problem

    def _expressions(self, table: Table) -> dict[str, str]:
        expressions = {
            name: strip_sql(text_sql(table.cell(column))) for name, column in self.mapping.items()
        }
        if "available_from" in expressions:
            expressions["since"] = text = expressions["available_from"]
            seconds = self.config.times.seconds_sql(text)
            is_time = f"{seconds} BETWEEN {EARLIEST!r} AND {LATEST!r}"
            expressions["available_from"] = f"CASE WHEN {is_time} THEN {seconds} END"
        for number, column in enumerate(self.attributes.values()):
            cell = table.cell(column)
            expressions[f"t{number}"] = strip_sql(f"coalesce({cell.text}, '')")
            if cell.items:
                expressions[f"l{number}"] = cell.items
        return expressions

    def _with_titles(self, cells: pa.Table) -> pa.Table:
        import pyarrow as pa

        if self.config.title_style != "library" or "title" not in cells.column_names:
            return cells
        plain = [plain_title(title) for title in cells["title"].to_pylist()]
        titles = pa.array([title for title, _ in plain], "string")
        years = pa.array([year for _, year in plain], "float64")
        place = cells.column_names.index("title")
        return cells.set_column(place, "title", titles).append_column("plain_year", years)

    def _kinds(self, connection: DuckDBPyConnection, names: Sequence[str]) -> list[AttributeKind]:
        parts = [
            part
            for number in range(len(self.attributes))
            for part in self.config.cells.kind_sql(f"t{number}", _stored(number, names))
        ]
        if not parts:
            return []
        (facts,) = connection.sql(f"SELECT {', '.join(parts)} FROM cells").fetchall()
        return [
            self.config.cells.kind(name, is_list, is_number)
            for name, is_list, is_number in zip(
                self.attributes, facts[::2], facts[1::2], strict=True
            )
        ]

    def _query(self, kinds: Sequence[AttributeKind], names: Sequence[str]) -> str:
        read = self.config.cells.value_sql
        values = [
            f"{read(name, kind, f't{number}', _stored(number, names))} AS v{number}"
            for number, (name, kind) in enumerate(zip(self.attributes, kinds, strict=True))
        ]
        absent = {"title": "''", "description": "''", "since": "''"}
        absent |= {"available_from": "NULL::DOUBLE", "plain_year": "NULL::DOUBLE"}
        known = ["item_id"]
        known += [name if name in names else f"{sql} AS {name}" for name, sql in absent.items()]
        inner = f"SELECT {', '.join([*known, *values])} FROM cells"
        return (
            "SELECT item_id, title, description, "
            f"'{{' || concat_ws(', ', {', '.join(self._attributes())}) || '}}' AS attributes, "
            f"available_from, since, {' OR '.join(self._doubts(kinds))} AS doubtful FROM ({inner})"
        )

    def _attributes(self) -> list[str]:
        parts, year = [], f"'\"{_YEAR}\": ' || CAST(to_json(plain_year) AS VARCHAR)"
        for number, name in enumerate(self.attributes):
            key = quote(json.dumps(name, ensure_ascii=False) + ": ")
            part = f"{key} || CAST(to_json(v{number}) AS VARCHAR)"
            parts.append(f"coalesce({part}, {year})" if name == _YEAR else part)
        return parts if _YEAR in self.attributes else [*parts, year]

    def _doubts(self, kinds: Sequence[AttributeKind]) -> list[str]:
        texts = ["item_id", "title", "description"]  # a row that meets none is valid
        texts += [f"v{number}" for number, kind in enumerate(kinds) if kind == "text"]
        lists = [f"v{number}" for number, kind in enumerate(kinds) if kind == "list"]
        texts += [f"array_to_string({name}, ' ')" for name in lists]
        whole = f"concat({', '.join(texts)})"
        is_odd_name = any(id_problem(name) for name in self.attributes)
        return [
            "item_id = ''",
            f"strlen(item_id) > {MAX_ID_BYTES}",
            f"ends_with(item_id, {quote(RESERVED_ENDING)})",
            f"length({whole}) > {MAX_TEXT_CHARS}",
            f"contains({whole}, chr(0))",
            "(since <> '' AND available_from IS NULL)",
            *(f"coalesce(len({name}), 0) > {MAX_ATTRIBUTE_VALUES}" for name in lists),
            *(["true"] if is_odd_name or len(kinds) >= MAX_ATTRIBUTES else []),
        ]


def read_items(config: ItemsConfig, base_folder: Path) -> ItemsRead:
    """Open an items file and map its columns; iterate the result to read it.

    Raises:
        DataError: the file is missing or unreadable, or a column is not in it.
    """
    if not config.path:
        return ItemsRead(config)
    path, columns, mapping = config.open(base_folder)
    attributes = config.attributes
    if attributes is None:
        attributes = tuple(other_columns(columns, mapping))
    if isinstance(attributes, tuple):
        attributes = {name: name for name in attributes}
    require_columns(attributes.values(), columns, path.name)
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
    return ItemsRead(config, path, mapping, attributes)


def _stored(number: int, names: Sequence[str]) -> str:
    return f"l{number}" if f"l{number}" in names else ""  # empty = the file has none


def read_users(config: UsersConfig, base_folder: Path) -> list[User]:
    """All users of a file, in its order, including repeated ids; none without a file.

    Raises:
        DataError: the file is missing or unreadable, a column is not in it, or a row is broken;
            names file, count, first places and reasons.
    """
    if not config.path:
        return []
    path, names, mapping = config.open(base_folder)
    columns = {name: name for name in other_columns(names, mapping)}
    if COUNTRY in mapping:
        columns[COUNTRY] = mapping[COUNTRY]
    table = open_table(path, config.encoding)
    # Rows of users and of items differ in the rules of what is valid.
    form = ItemsConfig(encoding=config.encoding, list_separator="")
    rows = ItemsRead(form, path, {"item_id": mapping["user_id"]}, columns).read(table)
    users = [User(row.item_id, _with_country(row.attributes)) for row in list_items(rows)]
    named = {**columns, "user_id": mapping["user_id"]}
    problems = ((row, user_problem(user, named)) for row, user in enumerate(users))
    table.refuse_broken((row, text) for row, text in problems if text)
    return users


def _with_country(attributes: Mapping[str, Attribute]) -> Mapping[str, Attribute]:
    country = attributes.get(COUNTRY)
    return {**attributes, COUNTRY: f"{country:g}"} if isinstance(country, float) else attributes
