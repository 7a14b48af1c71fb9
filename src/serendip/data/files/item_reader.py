"""Reads an items file as an Arrow table.

All cells of an attribute column have one type: list, number or text. DuckDB finds the types, splits
lists and writes the attributes. Rows that are not plainly valid ("odd") are read again, one by one,
by the rules of ``store.validation``: they are broken, or unusually long or spelt in a rare way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from serendip.data.files.attribute_cells import AttributeCells, AttributeKind, quote
from serendip.data.files.broken_rows import BrokenRows
from serendip.data.files.cells import strip_sql, text_sql
from serendip.data.files.tables import Cell, Row, Table, connect, open_table
from serendip.data.files.times import TimeFormat
from serendip.data.items.catalogue import Attribute, Item
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
from serendip.data.store.validation import id_problem, item_problem
from serendip.data.text import plain_title

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

TitleStyle = Literal["plain", "library"]

_YEAR = "year"


@dataclass(frozen=True, slots=True)
class ItemsRead:
    """An opened items file.

    Args:
        path: the file; None if there is none.
        mapping: canonical column -> file column.
        attributes: attribute name -> file column.
        cells: how the cells of attributes are read.
        title_style: ``library`` turns "Matrix, The (1999)" into "The Matrix" and a year.
        encoding: of the file, see ``open_table``.
        times: how ``available_from`` is written.
    """

    path: Path | None
    mapping: Mapping[str, str]
    attributes: Mapping[str, str]
    cells: AttributeCells
    title_style: TitleStyle
    encoding: str = ""
    times: TimeFormat = field(default_factory=TimeFormat)

    def table(self) -> pa.Table:
        """All items, in the order of the file, including repeated ids.

        Raises:
            DataError: a row is broken; names file, count, first places and reasons.
        """
        if self.path is None:
            return tabulate_items([])
        table, problems = self._read()
        problems.refuse()
        return table

    def sample(self, most: int) -> list[Item]:
        """The valid items among the first rows, which also decide the types of the columns."""
        return [] if self.path is None else list_items(self._read(most)[0])

    def __iter__(self) -> Iterator[Item]:
        """Yield the items of ``table``; for small files."""
        yield from list_items(self.table())

    def _read(self, most: int | None = None) -> tuple[pa.Table, BrokenRows]:
        import pyarrow as pa

        assert self.path is not None
        table = open_table(self.path, self.encoding)
        batches = list(table.batches(self._columns, self._expressions(table), most))
        problems = BrokenRows(table)
        if not batches:
            return tabulate_items([]), problems
        connection = connect()
        cells = self._with_titles(pa.Table.from_batches(batches))
        connection.register("cells", cells)
        kinds = self._kinds(connection, cells.column_names)
        read = connection.sql(self._query(kinds, cells.column_names)).to_arrow_table()
        odd = np.asarray(read["odd"].to_numpy(), np.bool_)
        items = read.select(ITEM_NAMES)
        if not odd.any():
            return items, problems
        rows = np.flatnonzero(odd)
        valid = list(self._read_odd(table, rows, kinds, problems))
        exact = tabulate_items(item for _, item in valid)
        places = np.concatenate([np.flatnonzero(~odd), [number for number, _ in valid]])
        both = pa.concat_tables([items.filter(pa.array(~odd)), exact.cast(items.schema)])
        return both.take(np.argsort(places)), problems

    @property
    def _columns(self) -> list[str]:
        return [*self.mapping.values(), *self.attributes.values()]

    def _expressions(self, table: Table) -> dict[str, str]:
        """SQL of the canonical texts, and of text and list of each attribute."""
        cells = {name: table.cell(column) for name, column in self.mapping.items()}
        expressions = {name: strip_sql(text_sql(cell)) for name, cell in cells.items()}
        if "available_from" in cells:
            expressions["available_text"] = expressions["available_from"]
            expressions["available_from"] = self.times.seconds_sql(cells["available_from"])
        for number, column in enumerate(self.attributes.values()):
            cell = table.cell(column)
            expressions[f"t{number}"] = strip_sql(f"coalesce({cell.text}, '')")
            if cell.items:
                expressions[f"l{number}"] = cell.items
        return expressions

    def _with_titles(self, cells: pa.Table) -> pa.Table:
        """The cells with titles in plain word order and the years that they had."""
        import pyarrow as pa

        if self.title_style != "library" or "title" not in cells.column_names:
            return cells
        plain = [plain_title(title) for title in cells["title"].to_pylist()]
        titles = pa.array([title for title, _ in plain], "string")
        years = pa.array([year for _, year in plain], "float64")
        place = cells.column_names.index("title")
        return cells.set_column(place, "title", titles).append_column("plain_year", years)

    def _kinds(self, connection: DuckDBPyConnection, names: Sequence[str]) -> list[AttributeKind]:
        """Type of each attribute column."""
        parts = [
            part
            for number in range(len(self.attributes))
            for part in self.cells.kind_sql(f"t{number}", _stored(number, names))
        ]
        if not parts:
            return []
        (facts,) = connection.sql(f"SELECT {', '.join(parts)} FROM cells").fetchall()
        found: list[AttributeKind] = [
            "list" if is_list else "number" if is_number else "text"
            for is_list, is_number in zip(facts[::2], facts[1::2], strict=True)
        ]
        said = map(self.cells.kind, self.attributes)
        return [told or kind for told, kind in zip(said, found, strict=True)]

    def _query(self, kinds: Sequence[AttributeKind], names: Sequence[str]) -> str:
        """SQL of the columns of ``ITEM_NAMES`` and of ``odd``."""
        values = [
            f"{self.cells.value_sql(name, kind, f't{number}', _stored(number, names))} AS v{number}"
            for number, (name, kind) in enumerate(zip(self.attributes, kinds, strict=True))
        ]
        known = [
            f"{name if name in names else absent} AS {name}"
            for name, absent in (
                *(("item_id", "''"), ("title", "''"), ("description", "''")),
                *(("available_from", "NULL::DOUBLE"), ("available_text", "''")),
                *(("plain_year", "NULL::DOUBLE"), ("odd", "false")),
            )
        ]
        inner = f"SELECT {', '.join([*known, *values])} FROM cells"
        odd = " OR ".join(self._odd_conditions(kinds))
        return (
            "SELECT item_id, title, description, "
            f"'{{' || concat_ws(', ', {', '.join(self._attributes(kinds))}) || '}}' AS attributes, "
            f"available_from, ({odd}) AS odd FROM ({inner})"
        )

    def _attributes(self, kinds: Sequence[AttributeKind]) -> list[str]:
        """SQL of the JSON of each attribute, NULL where an item has no value."""
        parts, year = [], f"'\"{_YEAR}\": ' || CAST(to_json(plain_year) AS VARCHAR)"
        for number, (name, kind) in enumerate(zip(self.attributes, kinds, strict=True)):
            key = quote(json.dumps(name, ensure_ascii=False) + ": ")
            value = f"nullif(v{number}, [])" if kind == "list" else f"v{number}"
            part = f"{key} || CAST(to_json({value}) AS VARCHAR)"
            parts.append(f"coalesce({part}, {year})" if name == _YEAR else part)
        return parts if _YEAR in self.attributes else [*parts, year]

    def _odd_conditions(self, kinds: Sequence[AttributeKind]) -> list[str]:
        """SQL conditions; a row that meets none of them is valid."""
        texts = ["item_id", "title", "description"]
        texts += [f"v{number}" for number, kind in enumerate(kinds) if kind == "text"]
        lists = [f"v{number}" for number, kind in enumerate(kinds) if kind == "list"]
        texts += [f"array_to_string({name}, ' ')" for name in lists]
        size = " + ".join(f"coalesce(length({text}), 0)" for text in texts)
        is_time = f"available_from BETWEEN {EARLIEST!r} AND {LATEST!r}"
        conditions = [
            "odd",
            "item_id = ''",
            f"strlen(item_id) > {MAX_ID_BYTES}",
            f"ends_with(item_id, {quote(RESERVED_ENDING)})",
            f"{size} > {MAX_TEXT_CHARS}",
            f"(available_text <> '' AND NOT coalesce({is_time}, false))",
            *(f"coalesce(contains({text}, chr(0)), false)" for text in texts),
            *(f"coalesce(len({name}), 0) > {MAX_ATTRIBUTE_VALUES}" for name in lists),
        ]
        is_odd_name = any(id_problem(name) for name in self.attributes)
        return [*conditions, *(["true"] if is_odd_name or len(kinds) >= MAX_ATTRIBUTES else [])]

    def _read_odd(
        self,
        table: Table,
        rows: NDArray[np.int64],
        kinds: Sequence[AttributeKind],
        problems: BrokenRows,
    ) -> Iterator[tuple[int, Item]]:
        """Yield (row, item) for the valid ones among some rows; the others are problems."""
        columns = {**self.attributes, **self.mapping}
        cells = table.rows(self._columns, rows)
        for number, row in zip(rows.tolist(), cells, strict=True):
            try:
                item = self._item(row, kinds)
            except ValueError as error:
                problems.add(number, str(error))
                continue
            if problem := item_problem(item, columns):
                problems.add(number, problem)
                continue
            yield number, item

    def _item(self, row: Row, kinds: Sequence[AttributeKind]) -> Item:
        texts = {name: _text(cell) for name, cell in zip(self.mapping, row, strict=False)}
        attributes: dict[str, Attribute] = {}
        for name, kind, cell in zip(self.attributes, kinds, row[len(self.mapping) :], strict=True):
            value = self.cells.parse(name, kind, cell)
            if value is not None:
                attributes[name] = value
        title = texts.get("title", "").strip()
        if self.title_style == "library":
            title, year = plain_title(title)
            if year is not None:
                attributes.setdefault(_YEAR, year)
        available = texts.get("available_from", "").strip()
        return Item(
            item_id=texts["item_id"].strip(),
            title=title,
            description=texts.get("description", "").strip(),
            attributes=attributes,
            available_from=self.times.parse(available, "available_from") if available else None,
        )


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else ", ".join(cell)


def _stored(number: int, names: Sequence[str]) -> str:
    """Name of the column with the lists of an attribute; empty = the file has none."""
    return f"l{number}" if f"l{number}" in names else ""
