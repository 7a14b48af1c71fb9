"""Tables of users' files: DuckDB reads CSV, JSON and Parquet, and evaluates SQL over their cells.

A cell is text, or a list of texts if the file has a list. Malformed rows are left out and collected
in ``broken``. The place of a row is its physical line, counted from 1, even if a quoted cell
contains line breaks; Parquet files and JSON arrays have no lines, so their places are row numbers.
A file with a single broken row is refused: the error counts all and names the first ones.
"""

from __future__ import annotations

import csv
import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from serendip.data.limits import MAX_ROW_CHARS
from serendip.errors import DataError
from serendip.files.cells import (
    CellSql,
    connect,
    pattern_of,
    quote,
    run,
    strip_sql,
    text_sql,
    unreadable,
)
from serendip.files.encodings import as_utf8, open_binary

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".inter", ".item", ".user")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
PARQUET_SUFFIXES = (".parquet", ".pq")

NOT_UTF8 = "is not utf-8"  # reason of a row that is in another encoding
_SHOWN = 5  # broken rows of which an error has place and reason
_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 20
_MAX_BROKEN = 1000
_BATCH = 500_000
_MOST_DEPTH = 6  # levels of objects in a JSON row that become columns


class Table(ABC):
    """A file of rows.

    Args:
        path: the file; its extension gives the format (CSV and JSON also with ``.gz``).
        source: SQL of its well-formed rows, with one placeholder for the path.
        cells: column -> SQL of its cells, over ``source``.
    """

    def __init__(self, path: Path, source: str, cells: Mapping[str, CellSql]) -> None:
        self.path, self._source, self._cells = path, source, cells
        self.broken: list[tuple[str, str]] = []
        """(place, reason) of malformed rows; complete once all rows were read."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names in the order of the file, without unnamed columns."""
        return tuple(self._cells)

    def cell(self, column: str) -> CellSql:
        """SQL of the cells of a column, for the expressions of ``read``."""
        return self._cells[column]

    def read(self, *layers: Mapping[str, str], most: int | None = None) -> Iterator[pa.RecordBatch]:
        """Yield SQL expressions for every well-formed row, in the order of the file.

        The last batch has no rows, so that there is always one.

        Args:
            layers: name -> SQL; of the first one over cells, see ``cell``, of each other one over
                the names of the layer before, which are computed once. The last one is the batch.
            most: number of rows to read; None = all.

        Raises:
            DataError: the file cannot be read.
        """
        import duckdb
        import pyarrow as pa

        query = self._source
        for layer in layers:
            selected = ", ".join(f"{sql} AS {name}" for name, sql in layer.items())
            query = f"(SELECT {selected} FROM {query})"
        query = f"FROM {query}" if most is None else f"FROM {query} LIMIT {most}"
        connection = connect()
        try:
            relation = connection.sql(query, params=[pattern_of(self.path)])
            reader = relation.to_arrow_reader(_BATCH)
            yield from reader
            yield pa.RecordBatch.from_pylist([], reader.schema)
        except (duckdb.Error, pa.ArrowException, OSError, MemoryError) as error:
            raise unreadable(self.path, error) from None
        self._note_broken(connection)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """Yield the texts of some columns of every well-formed row; for small files."""
        texts = {f"t{place}": text_sql(self.cell(name)) for place, name in enumerate(columns)}
        for batch in self.read(texts):
            yield from zip(*batch.to_pydict().values(), strict=True)

    def refuse_broken(self, problems: Iterable[tuple[int, str]]) -> None:
        """Refuse a file that was read to its end if a row is broken: half an import is worse than
        none.

        Args:
            problems: (0-based number, reason) of well-formed rows that are invalid, ascending.

        Raises:
            DataError: a row is broken; names file, count, first places and reasons.
        """
        invalid = list(problems)
        count = len(invalid) + len(self.broken)
        if not count:
            return
        places = self.places([row for row, _ in invalid[:_SHOWN]])
        named = [(place, reason) for place, (_, reason) in zip(places, invalid, strict=False)]
        first = sorted([*named, *self.broken], key=lambda pair: int(pair[0].split()[1]))[:_SHOWN]
        listed = "; ".join(f"{place}: {reason}" for place, reason in first)
        more = f"; and {count - len(first):,} more" if count > len(first) else ""
        mend = "Correct or remove these rows."
        if any(reason == NOT_UTF8 for _, reason in first):
            mend = (
                "Correct these rows, or name the encoding of the whole file, as in "
                '`encoding = "cp1252"`, if it is not UTF-8.'
            )
        elif all("is not a time" in reason for _, reason in first):
            mend = 'Say how times are written, as in `time_format = "%d.%m.%Y %H:%M"`.'
        raise DataError(
            f"{self.path.name}: {'1 row is' if count == 1 else f'{count:,} rows are'} broken: "
            f"{listed}{more}.",
            f"Nothing was imported. {mend}",
        )

    @abstractmethod
    def places(self, rows: Sequence[int]) -> list[str]:
        """Places of well-formed rows by 0-based number, ascending; may read the file again."""

    @abstractmethod
    def _note_broken(self, connection: DuckDBPyConnection) -> None:
        """Collect the malformed rows that a connection has read."""


def open_table(path: Path, encoding: str = "") -> Table:
    """Open a file in the format of its extension.

    Raises:
        DataError: it is missing, unreadable, empty or of an unknown format.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist.", "Check `path` in serendip.toml.")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(CSV_SUFFIXES):
        return CsvTable(as_utf8(path, encoding))
    if name.endswith(JSON_SUFFIXES):
        return JsonTable(as_utf8(path, encoding))
    if name.endswith(PARQUET_SUFFIXES):
        return ParquetTable(path)
    endings = ", ".join((*CSV_SUFFIXES[:3], *JSON_SUFFIXES, *PARQUET_SUFFIXES))
    raise DataError(f"{path.name}: unknown file format.", f"Use one of: {endings}.")


class CsvTable(Table):
    """Delimited text with a header; the delimiter (``, ; tab |``) is detected from its lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _open_text(path) as file:
            self._delimiter = _find_delimiter(list(islice(file, _SAMPLE_LINES)))
        self._header = [name.strip() for name in next(self._records(), (0, []))[1]]
        if not any(self._header):
            raise DataError(f"{path.name} is empty.", "Its first line must name the columns.")
        for name in filter(None, self._header):
            if self._header.count(name) > 1:
                raise DataError(f"{path.name}: column {name!r} appears twice.", "Rename one.")
        types = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(self._header)))
        source = _csv_sql(types, f"header=true, delim='{self._delimiter}', quote='\"', escape='\"'")
        cells = {name: CellSql(f"c{n}") for n, name in enumerate(self._header) if name}
        super().__init__(path, source, cells)

    def places(self, rows: Sequence[int]) -> list[str]:
        """The lines on which the rows begin."""
        records = islice(self._records(), 1, None)
        lines = [line for line, cells in records if len(cells) == len(self._header)] if rows else []
        return [f"line {lines[row]}" for row in rows]

    def _note_broken(self, connection: DuckDBPyConnection) -> None:
        self.broken = [(f"line {line}", text) for line, text in _rejects(connection, self.path)]

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (first line, cells) of every non-blank record."""
        csv.field_size_limit(MAX_ROW_CHARS)
        with _open_text(self.path) as file:
            reader, line = csv.reader(file, delimiter=self._delimiter), 1
            try:
                for cells in reader:
                    if cells:
                        yield line, cells
                    line = reader.line_num + 1
            except csv.Error as error:
                raise DataError(
                    f"{self.path.name}: the row of line {line} cannot be read: {error}.",
                    "Shorten it, or close an open quotation mark.",
                ) from None


class JsonTable(Table):
    """One JSON object per line, or an array of them; blank lines are skipped.

    Keys of an object inside another one are columns, ``outer.inner``. Numbers are spelt as DuckDB
    spells them: ``1.50`` is ``1.5``.
    """

    def __init__(self, path: Path) -> None:
        self._is_array = path.name.lower().removesuffix(".gz").endswith(".json")
        options = f"header=false, delim='\x01', quote='', escape='', max_line_size={MAX_ROW_CHARS}"
        lines = _csv_sql("'line': 'VARCHAR'", options)
        if self._is_array:
            lines = "(SELECT json AS line FROM read_json_objects(?, format='auto'))"
        row = "json_type(TRY_CAST(line AS JSON)) = 'OBJECT'"
        self._numbered = (
            f"(SELECT row_number() OVER () AS number, {strip_sql('line')} = '' AS is_blank, "
            f"TRY_CAST(line AS JSON) IS NOT NULL AS is_json, {row} AS is_row FROM {lines})"
        )
        objects = f"(SELECT line::JSON AS object FROM {lines} WHERE {row})"
        query = (  # ``json_group_structure`` would take as much memory as the file
            "SELECT structure FROM (SELECT row_number() OVER () AS number, "
            f"json_structure(object) AS structure FROM {objects}) GROUP BY 1 ORDER BY min(number)"
        )
        found: dict[str, tuple[str, bool]] = {}
        for (structure,) in run(connect(), query, path).fetchall():
            for name, (pointer, is_list) in _find_leaves(json.loads(structure)):
                found[name] = pointer, is_list or (name in found and found[name][1])
        if not found:
            raise DataError(f"{path.name} holds no JSON objects.", "Write one object per line.")
        pointers = ", ".join(quote(pointer) for pointer, _ in found.values())
        cells = {
            name: _json_cell(f"v[{place}]", may_be_list)
            for place, (name, (_, may_be_list)) in enumerate(found.items(), 1)
        }
        super().__init__(
            path, f"(SELECT json_extract(object, [{pointers}]) AS v FROM {objects})", cells
        )

    def places(self, rows: Sequence[int]) -> list[str]:
        """The lines of the rows, or row numbers in an array."""
        connection = connect()
        query = f"SELECT number FROM {self._numbered} WHERE is_row"
        numbers = [number for (number,) in run(connection, query, self.path).fetchall()]
        return [self._place(numbers[row], _rejects(connection, self.path)) for row in rows]

    def _note_broken(self, connection: DuckDBPyConnection) -> None:
        rejects = [] if self._is_array else _rejects(connection, self.path)
        query = (
            f"SELECT number, is_json FROM {self._numbered} "
            f"WHERE NOT is_blank AND NOT coalesce(is_row, false) LIMIT {_MAX_BROKEN}"
        )
        odd = run(connect(), query, self.path).fetchall()
        self.broken = [
            (self._place(number, rejects), "not a JSON object" if is_json else "not JSON")
            for number, is_json in odd
        ]
        self.broken += [(f"line {line}", reason) for line, reason in rejects]

    def _place(self, number: int, rejects: Sequence[tuple[int, str]]) -> str:
        for line, _ in rejects:
            number += line <= number
        return f"{'row' if self._is_array else 'line'} {number}"


def _json_cell(value: str, may_be_list: bool) -> CellSql:
    text = f"{value} ->> '$'"
    if not may_be_list:
        return CellSql(text)
    is_list = f"json_type({value}) = 'ARRAY'"
    items = f"CAST(CASE WHEN {is_list} THEN {value} END AS VARCHAR[])"
    return CellSql(f"CASE WHEN NOT {is_list} THEN {text} END", items)


def _find_leaves(
    structure: Mapping[str, Any], name: str = "", pointer: str = "", depth: int = 1
) -> Iterator[tuple[str, tuple[str, bool]]]:
    # Column, and (JSON pointer, whether its value is a list).
    for key, inner in structure.items():
        column = f"{name}.{key}" if name else key
        path = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
        if isinstance(inner, dict) and depth < _MOST_DEPTH:
            yield from _find_leaves(inner, column, path, depth + 1)
        elif column and "\0" not in column:
            yield column, (path, isinstance(inner, list))


class ParquetTable(Table):
    """A Parquet file but for columns of bytes; whole floats lose their ``.0``, NaN is missing."""

    def __init__(self, path: Path) -> None:
        schema = run(connect(), "DESCRIBE SELECT * FROM read_parquet(?)", path).fetchall()
        cells = {
            str(name): _parquet_cell(name, str(kind))
            for name, kind, *_ in schema
            if name and "BLOB" not in str(kind)
        }
        super().__init__(path, "read_parquet(?)", cells)

    def places(self, rows: Sequence[int]) -> list[str]:
        """Row numbers, counted from 1."""
        return [f"row {row + 1}" for row in rows]

    def _note_broken(self, connection: DuckDBPyConnection) -> None:
        pass


def _parquet_cell(column: str, kind: str) -> CellSql:
    name = '"' + column.replace('"', '""') + '"'
    if kind.endswith("]"):
        return CellSql("NULL::VARCHAR", f"CAST({name} AS VARCHAR[])")
    if kind in ("SMALLINT", "INTEGER", "BIGINT"):
        return CellSql(f"CAST({name} AS VARCHAR)", number=f"CAST({name} AS DOUBLE)")
    if kind in ("FLOAT", "DOUBLE"):
        whole = f"TRY_CAST({name} AS BIGINT)"
        return CellSql(
            f"CASE WHEN isnan({name}) THEN NULL WHEN {whole} = {name} "
            f"THEN CAST({whole} AS VARCHAR) ELSE CAST({name} AS VARCHAR) END"
        )
    return CellSql(f"CAST({name} AS VARCHAR)")


def _csv_sql(types: str, options: str) -> str:
    return (
        f"read_csv(?, columns={{{types}}}, auto_detect=false, {options}, "
        f"store_rejects=true, rejects_limit={_MAX_BROKEN})"
    )


def _rejects(connection: DuckDBPyConnection, path: Path) -> list[tuple[int, str]]:
    errors = connection.execute(
        "SELECT line_byte_position, min(error_message), min(error_type) FROM reject_errors "
        "GROUP BY 1 ORDER BY 1"
    ).fetchall()
    if not errors:
        return []
    with open_binary(path) as file:
        content = file.read(errors[-1][0])
    return [
        (
            content.count(b"\n", 0, begin - 1) + 1,
            NOT_UTF8 if kind.startswith("INVALID") else str(message).rstrip("."),
        )
        for begin, message, kind in errors
    ]


def _find_delimiter(lines: Sequence[str]) -> str:
    """The sign that most lines contain as often as the header does.

    DuckDB's own sniffer looks at rows of one length and takes another sign where rows are broken,
    which are to be named. Quoted text is ignored. Ties are broken by the header: by occurrences
    that no blank follows, then by all occurrences.
    """
    unquoted = [re.sub(r'"[^"]*"', "", line) for line in lines] or [""]

    def agreement(sign: str) -> tuple[int, int, int]:
        expected = unquoted[0].count(sign)
        alike = sum(line.count(sign) == expected for line in unquoted)
        return alike if expected else 0, expected - unquoted[0].count(f"{sign} "), expected

    return max(_DELIMITERS, key=agreement)


def _open_text(path: Path) -> TextIO:
    # Bytes that are not UTF-8 are for DuckDB to refuse.
    return io.TextIOWrapper(
        open_binary(path), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )
