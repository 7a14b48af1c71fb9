"""Table readers: rows of CSV, JSONL and Parquet files, with line numbers for errors.

``batches`` evaluates SQL expressions over the cells in DuckDB, for files of any size; ``rows``
yields the cells of small tables and of single rows. DuckDB scans CSV and Parquet. JSON lines are
parsed here, because DuckDB respells numbers ("1.50" becomes "1.5") and names no malformed line.

A cell is text, or a tuple of texts if the file has a list; empty and null cells are "". Malformed
rows are not yielded but collected in ``broken``.

The place of a row is its physical line, counted from 1, even if a quoted cell contains line
breaks; a Parquet file has no lines, so its places are row numbers, counted from 1.
"""

from __future__ import annotations

import csv
import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.files.cells import CellSql, media_sql, micros_sql
from serendip.data.files.encodings import as_utf8, open_binary
from serendip.data.limits import MAX_ROW_CHARS
from serendip.errors import DataError
from serendip.runtime.threads import num_threads

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_BATCH = 20_000
_ARROW_BATCH = 500_000
_JSON_CHUNK = 50_000


def connect() -> DuckDBPyConnection:
    """Open a connection to DuckDB with temporary tables of its own; it downloads no extensions."""
    return _database(num_threads()).cursor()


@cache
def _database(threads: int) -> DuckDBPyConnection:
    """The database of this process; opening one takes longer than reading a small file."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        "autoinstall_known_extensions": False,
    }
    return duckdb.connect(":memory:", config=settings)


def run(connection: DuckDBPyConnection, query: str, path: Path) -> DuckDBPyConnection:
    """Run a query over a file.

    Args:
        connection: of DuckDB.
        query: SQL with one placeholder for the path.
        path: the file.

    Raises:
        DataError: the file cannot be read.
    """
    import duckdb

    try:
        return connection.execute(query, [_pattern(path)])
    except duckdb.Error as error:
        raise _unreadable(path, error) from None


def scan(
    connection: DuckDBPyConnection, query: str, path: Path
) -> Iterator[tuple[str | tuple[str, ...], ...]]:
    """Yield the rows of a query over a file; a cell is a text, or a tuple for a list of texts.

    Args:
        connection: of DuckDB.
        query: as for ``run``; selects texts and lists of texts.
        path: the file.

    Raises:
        DataError: the file cannot be read.
    """
    import duckdb

    cursor = run(connection, query, path)
    while True:
        try:
            batch = cursor.fetchmany(_BATCH)
        except duckdb.Error as error:
            raise _unreadable(path, error) from None
        if not batch:
            return
        for row in batch:
            yield tuple(
                [
                    cell if type(cell) is str else tuple(filter(None, cell)) if cell else ""
                    for cell in row
                ]
            )


def scan_batches(
    connection: DuckDBPyConnection, query: str, path: Path
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a query over a file as Arrow batches.

    Args:
        connection: of DuckDB.
        query: as for ``run``.
        path: the file.

    Raises:
        DataError: the file cannot be read.
    """
    import duckdb
    import pyarrow as pa

    try:
        relation = connection.sql(query, params=[_pattern(path)])
        yield from relation.to_arrow_reader(_ARROW_BATCH)
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _pattern(path: Path) -> str:
    """The path as a glob pattern, which DuckDB reads; a bracketed wildcard matches itself."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path))


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0].rstrip(".")
    return DataError(
        f"{path.name} cannot be read: {reason}.", "Does its format match its file extension?"
    )


Cell: TypeAlias = str | tuple[str, ...]
Row: TypeAlias = tuple[Cell, ...]

_MOST_DEPTH = 6
"""Levels of objects in a JSON row that become columns."""

CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".inter", ".item", ".user")
JSON_SUFFIXES = (".jsonl", ".ndjson")
PARQUET_SUFFIXES = (".parquet", ".pq")

NOT_UTF8 = "is not utf-8"
"""Reason of a row that is in another encoding."""

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 20
_MAX_BROKEN = 1000
_PARQUET = "read_parquet(?)"
_WHOLE = frozenset(
    f"{sign}{kind}" for sign in ("", "U") for kind in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
)


class Table(ABC):
    """A file of rows.

    Args:
        path: the file; its extension gives the format (CSV and JSONL also with ``.gz``).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken: list[tuple[str, str]] = []
        """(place, reason) of malformed rows; complete once ``rows`` has ended."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Column names in the order of the file, without unnamed columns."""

    @property
    def media(self) -> Mapping[str, str]:
        """SQL of the bytes of columns that hold files; their cells are paths of such files."""
        return {}

    @abstractmethod
    def cell(self, column: str) -> CellSql:
        """SQL of the cells of a column, for the expressions of ``batches``."""

    @abstractmethod
    def batches(
        self, columns: Sequence[str], expressions: Mapping[str, str], most: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield SQL expressions for every well-formed row, in the order of the file.

        Args:
            columns: those that the expressions read.
            expressions: name in the batch -> SQL over cells, see ``cell``.
            most: number of rows to read; None = all.

        Returns:
            batches with a column for each expression, and ``odd``: True for a row with half of a
            character (a lone surrogate), which SQL cannot read.
        """

    @abstractmethod
    def rows(self, columns: Sequence[str], only: NDArray[np.int64] | None = None) -> Iterator[Row]:
        """Yield the cells of ``columns`` of every well-formed row, in the order of the file.

        Args:
            columns: by name.
            only: 0-based numbers of the rows to yield, ascending; None = all.
        """

    @abstractmethod
    def places(self, rows: Sequence[int]) -> list[str]:
        """Places of well-formed rows by 0-based number, ascending; reads the file again."""


def open_table(path: Path, encoding: str = "") -> Table:
    """Open a file in the format of its extension.

    Args:
        path: the file.
        encoding: of CSV and JSON; empty = UTF-8.

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
        super().__init__(path)
        with open_text(path) as file:
            self._delimiter = _delimiter(list(islice(file, _SAMPLE_LINES)))
        header = next(self._records(), (0, []))[1]
        self._header = [name.strip() for name in header]
        if not any(self._header):
            raise DataError(f"{path.name} is empty.", "Its first line must name the columns.")
        repeated = [name for name in self.columns if self._header.count(name) > 1]
        if repeated:
            raise DataError(f"{path.name}: column {repeated[0]!r} appears twice.", "Rename one.")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names in the header."""
        return tuple(name for name in self._header if name)

    def cell(self, column: str) -> CellSql:
        """The text of the file."""
        return CellSql(f"c{self._header.index(column)}")

    def batches(
        self, columns: Sequence[str], expressions: Mapping[str, str], most: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield SQL expressions for every row."""
        connection = connect()
        yield from scan_batches(
            connection, _select(_named(expressions), self._scan(), most), self.path
        )
        self.broken = self._read_rejects(connection)

    def rows(self, columns: Sequence[str], only: NDArray[np.int64] | None = None) -> Iterator[Row]:
        """Yield the cells of ``columns``."""
        connection = connect()
        cells = [self.cell(name).text for name in columns]
        yield from scan(connection, _select_rows(connection, cells, self._scan(), only), self.path)
        self.broken = self._read_rejects(connection)

    def _scan(self) -> str:
        types = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(self._header)))
        return (
            f"read_csv(?, columns={{{types}}}, auto_detect=false, "
            f"header=true, delim='{self._delimiter}', quote='\"', escape='\"', "
            f"store_rejects=true, rejects_limit={_MAX_BROKEN})"
        )

    def places(self, rows: Sequence[int]) -> list[str]:
        """The lines on which the rows begin."""
        records = self._records()
        next(records, None)
        well_formed = (line for line, cells in records if len(cells) == len(self._header))
        return _nth(well_formed, rows)

    def _read_rejects(self, connection: DuckDBPyConnection) -> list[tuple[str, str]]:
        errors = connection.execute(
            "SELECT line_byte_position, min(error_message), min(error_type) FROM reject_errors "
            "GROUP BY 1 ORDER BY 1"
        ).fetchall()
        if not errors:
            return []
        with open_binary(self.path) as file:
            content = file.read(errors[-1][0])
        lines = [content.count(b"\n", 0, begin - 1) + 1 for begin, *_ in errors]
        return [
            (f"line {line}", NOT_UTF8 if kind.startswith("INVALID") else str(message).rstrip("."))
            for line, (_, message, kind) in zip(lines, errors, strict=True)
        ]

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (first line, cells) of every non-blank record.

        Raises:
            DataError: a cell exceeds the size limit of a row.
        """
        csv.field_size_limit(MAX_ROW_CHARS)
        with open_text(self.path) as file:
            reader = csv.reader(file, delimiter=self._delimiter)
            line = 1
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
    """One JSON object per line; blank lines are skipped.

    Keys of an object inside another one are columns, ``outer.inner``.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        names: dict[str, bool] = {}  # name -> whether a value of it is a list
        for _, values in self._objects():
            if isinstance(values, dict):
                for name, value in values.items():
                    names[name] = names.get(name, False) or type(value) is list
        self._columns = tuple(name for name in names if name)
        self._lists = frozenset(name for name, is_list in names.items() if is_list)
        if not self._columns:
            raise DataError(f"{path.name} holds no JSON objects.", "Write one object per line.")

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys of all objects, in order of first appearance."""
        return self._columns

    def cell(self, column: str) -> CellSql:
        """Numbers as spelt in the file."""
        number = self._columns.index(column)
        return CellSql(f"c{number}", f"l{number}" if column in self._lists else "")

    def batches(
        self, columns: Sequence[str], expressions: Mapping[str, str], most: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield SQL expressions for every object."""
        connection, rows = connect(), islice(self.rows(columns), most)
        while chunk := list(islice(rows, _JSON_CHUNK)):
            connection.register("chunk", self._tabulate(columns, chunk))
            query = _select(_named(expressions, odd="odd"), "chunk")
            yield from connection.sql(query).to_arrow_table().to_batches()

    def _tabulate(self, columns: Sequence[str], rows: Sequence[Row]) -> pa.Table:
        """The cells of rows as columns of texts and columns of lists."""
        import pyarrow as pa

        odd = np.zeros(len(rows), np.bool_)
        arrays: dict[str, pa.Array] = {}
        for position, name in enumerate(columns):
            cells = [row[position] for row in rows]
            number = self._columns.index(name)
            texts = [cell if type(cell) is str else None for cell in cells]
            arrays[f"c{number}"] = pa.array(_encodable(texts, odd), "string")
            if name in self._lists:
                joined = ["\n".join(cell) if type(cell) is tuple else None for cell in cells]
                _encodable(joined, odd)
                lists = [
                    None if is_odd or type(cell) is str else cell
                    for cell, is_odd in zip(cells, odd.tolist(), strict=True)
                ]
                arrays[f"l{number}"] = pa.array(lists, pa.list_(pa.string()))
        return pa.table({**arrays, "odd": odd})

    def rows(self, columns: Sequence[str], only: NDArray[np.int64] | None = None) -> Iterator[Row]:
        """Yield the values of ``columns``; numbers as spelt in the file."""
        self.broken = []
        wanted = None if only is None else frozenset(only.tolist())
        number = 0
        for line, values in self._objects():
            if not isinstance(values, dict):
                self.broken.append((f"line {line}", values))
                continue
            if wanted is None or number in wanted:
                yield tuple([_json_cell(values.get(name)) for name in columns])
            number += 1

    def places(self, rows: Sequence[int]) -> list[str]:
        """The lines of the rows."""
        return _nth((line for line, values in self._objects() if isinstance(values, dict)), rows)

    def _objects(self) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Yield (line, object), or (line, reason) for a malformed one."""
        decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
        with open_text(self.path) as file:
            for line, text in enumerate(_bounded_lines(file), start=1):
                if text.isspace():
                    continue
                if len(text) > MAX_ROW_CHARS:
                    yield line, f"has more than {MAX_ROW_CHARS:,} characters"
                    continue
                try:
                    values = decoder.decode(text)
                except (ValueError, RecursionError) as error:
                    yield line, f"not JSON ({error})"
                    continue
                yield line, _flatten(values) if isinstance(values, dict) else "not a JSON object"


class ParquetTable(Table):
    """A Parquet file; whole floats lose their ``.0`` and NaN is missing."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        schema = run(connect(), "DESCRIBE SELECT * FROM read_parquet(?)", path).fetchall()
        self._types: dict[str, str] = {str(name): str(kind) for name, kind, *_ in schema}

    @property
    def columns(self) -> tuple[str, ...]:
        """Names in the schema."""
        return tuple(name for name in self._types if name)

    @property
    def media(self) -> Mapping[str, str]:
        """Columns of bytes, and of structures with a field ``bytes``, as data sets have them."""
        found = {}
        for column, kind in self._types.items():
            if kind == "BLOB":
                found[column] = _quoted(column)
            elif re.match(r"STRUCT\((.*, )?\"?bytes\"? BLOB[,)]", kind):
                found[column] = f"({_quoted(column)}).bytes"
        return found

    def cell(self, column: str) -> CellSql:
        """The value of the file as text; numbers and times also as what they are."""
        name, kind = _quoted(column), self._types[column]
        if column in self.media:
            return CellSql(media_sql(self.media[column]))
        if kind.endswith("]"):
            return CellSql("NULL::VARCHAR", f"CAST({name} AS VARCHAR[])")
        if kind in _WHOLE:
            return CellSql(f"CAST({name} AS VARCHAR)", number=f"CAST({name} AS DOUBLE)")
        if kind in ("FLOAT", "DOUBLE"):
            whole = f"TRY_CAST({name} AS BIGINT)"
            text = (
                f"CASE WHEN isnan({name}) THEN NULL WHEN {whole} = {name} "
                f"THEN CAST({whole} AS VARCHAR) ELSE CAST({name} AS VARCHAR) END"
            )
            # A FLOAT is what its shortest text says: 4.1, not 4.099999904.
            exact = f"CASE WHEN isfinite({name}) THEN {name} END" if kind == "DOUBLE" else ""
            return CellSql(text, number=exact)
        if kind in ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
            finite = f"CASE WHEN isfinite({name}) THEN"
            if kind == "TIMESTAMP":
                return CellSql(f"CAST({name} AS VARCHAR)", moment=f"{finite} {name} END")
            text = f"CAST(make_timestamp(epoch_us({name})) AS VARCHAR) || '+00:00'"
            return CellSql(text, seconds=f"{finite} {micros_sql(f'epoch_us({name})')} END")
        return CellSql(f"CAST({name} AS VARCHAR)")

    def batches(
        self, columns: Sequence[str], expressions: Mapping[str, str], most: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield SQL expressions for every row."""
        yield from scan_batches(connect(), _select(_named(expressions), _PARQUET, most), self.path)

    def rows(self, columns: Sequence[str], only: NDArray[np.int64] | None = None) -> Iterator[Row]:
        """Yield the cells of ``columns``."""
        cells = [self.cell(name) for name in columns]
        selected = [cell.items or cell.text for cell in cells]
        connection = connect()
        yield from scan(connection, _select_rows(connection, selected, _PARQUET, only), self.path)

    def places(self, rows: Sequence[int]) -> list[str]:
        """Row numbers, counted from 1."""
        return [f"row {row + 1}" for row in rows]


def _quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _select(expressions: Sequence[str], source: str, most: int | None = None) -> str:
    return (
        f"SELECT {', '.join(expressions)} FROM {source}{'' if most is None else f' LIMIT {most}'}"
    )


def _named(expressions: Mapping[str, str], odd: str = "false") -> list[str]:
    return [f"{sql} AS {name}" for name, sql in {**expressions, "odd": odd}.items()]


def _select_rows(
    connection: DuckDBPyConnection,
    cells: Sequence[str],
    source: str,
    only: NDArray[np.int64] | None,
) -> str:
    """SQL of cells of all rows, or of those with some 0-based numbers."""
    if only is None:
        return _select(cells, source)
    connection.register("wanted", {"number": only})
    named = [f"{cell} AS v{place}" for place, cell in enumerate(cells)]
    numbered = _select([*named, "row_number() OVER () - 1 AS number"], source)
    values = [f"v{place}" for place in range(len(cells))]
    condition = "WHERE number IN (SELECT number FROM wanted) ORDER BY number"
    return _select(values, f"({numbered}) {condition}")


def _encodable(texts: list[str | None], odd: NDArray[np.bool_]) -> list[str | None]:
    """The texts without those that are no UTF-8; their rows become odd."""
    try:
        "".join(filter(None, texts)).encode()
    except UnicodeEncodeError:
        for row, text in enumerate(texts):
            if text and text != text.encode("utf-8", "ignore").decode():
                odd[row], texts[row] = True, None
    return texts


def _delimiter(lines: Sequence[str]) -> str:
    """Detect the delimiter: the character that most lines contain as often as the header does.

    Quoted text is ignored; lines inside a quoted cell are noise. Ties are broken by the header:
    by occurrences that no blank follows, then by all occurrences.
    """
    unquoted = [re.sub(r'"[^"]*"', "", line) for line in lines] or [""]

    def agreement(sign: str) -> tuple[int, int, int]:
        expected = unquoted[0].count(sign)
        return (
            sum(line.count(sign) == expected for line in unquoted) if expected else 0,
            expected - unquoted[0].count(f"{sign} "),
            expected,
        )

    return max(_DELIMITERS, key=agreement)


def _flatten(values: Mapping[str, Any], depth: int = 1) -> dict[str, Any]:
    """Columns of an object; objects below ``_MOST_DEPTH`` stay the text that they are."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and depth < _MOST_DEPTH:
            inner = _flatten(value, depth + 1).items()
            flat |= {f"{name}.{key}": cell for key, cell in inner}
        else:
            flat[name] = value
    return flat


def _json_cell(value: Any) -> Cell:
    if type(value) is str:
        return value
    if value is None:
        return ""
    if isinstance(value, list):
        return tuple(text for text in map(_json_text, value) if text)
    return _json_text(value)


def _json_text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _bounded_lines(file: TextIO) -> Iterator[str]:
    """Yield lines; one over the limit is cut to a single character more than the limit."""
    while line := file.readline(MAX_ROW_CHARS + 1):
        yield line
        while len(line) > MAX_ROW_CHARS and line[-1] not in "\r\n":
            line = file.readline(MAX_ROW_CHARS + 1) or "\n"


def _nth(places: Iterable[int], rows: Sequence[int]) -> list[str]:
    wanted = set(rows)
    lines: list[str] = []
    if not wanted:
        return lines
    for row, line in enumerate(places):
        if row in wanted:
            lines.append(f"line {line}")
            if len(lines) == len(wanted):
                break
    return lines


def open_text(path: Path) -> TextIO:
    """Open a text file, with ``.gz`` a compressed one."""
    # Bytes that are not UTF-8 become lone surrogates, which validation refuses.
    return io.TextIOWrapper(
        open_binary(path), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )
