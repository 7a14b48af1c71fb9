"""Table readers: rows of CSV, JSONL and Parquet files as text, with line numbers for errors.

DuckDB scans CSV and Parquet; JSON lines are parsed here, so that numbers keep the spelling of the
file. A cell is text, or a tuple of texts if the file has a list; empty and null cells are "".
Malformed rows are not yielded but collected in ``broken``.

The place of a row is its physical line, counted from 1, even if a quoted cell contains line
breaks; a Parquet file has no lines, so its places are row numbers, counted from 1.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

from serendip.data.limits import MAX_ROW_CHARS
from serendip.errors import DataError
from serendip.runtime.threads import num_threads

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BATCH = 20_000


def connect() -> DuckDBPyConnection:
    """Open a private DuckDB database in memory that downloads no extensions."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": num_threads(),
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

    # DuckDB reads the path as a glob pattern; a bracketed wildcard matches itself.
    pattern = "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path))
    try:
        return connection.execute(query, [pattern])
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


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0].rstrip(".")
    return DataError(
        f"{path.name} cannot be read: {reason}.", "Does its format match its file extension?"
    )


Cell: TypeAlias = str | tuple[str, ...]
Row: TypeAlias = tuple[Cell, ...]

CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".inter", ".item")
JSON_SUFFIXES = (".jsonl", ".ndjson")
PARQUET_SUFFIXES = (".parquet", ".pq")

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 20
_MAX_BROKEN = 1000


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

    @abstractmethod
    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the cells of ``columns`` of every well-formed row, in the order of the file."""

    @abstractmethod
    def places(self, rows: Sequence[int]) -> list[str]:
        """Places of well-formed rows by 0-based number, ascending; reads the file again."""


def open_table(path: Path) -> Table:
    """Open a file in the format of its extension.

    Raises:
        DataError: it is missing, unreadable, empty or of an unknown format.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist.", "Check `path` in serendip.toml.")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(CSV_SUFFIXES):
        return CsvTable(path)
    if name.endswith(JSON_SUFFIXES):
        return JsonTable(path)
    if name.endswith(PARQUET_SUFFIXES):
        return ParquetTable(path)
    endings = ", ".join((*CSV_SUFFIXES[:3], *JSON_SUFFIXES, *PARQUET_SUFFIXES))
    raise DataError(f"{path.name}: unknown file format.", f"Use one of: {endings}.")


class CsvTable(Table):
    """Delimited text with a header; the delimiter (``, ; tab |``) is detected from its lines."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with _open_text(path) as file:
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

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the cells of ``columns``."""
        selection = ", ".join(f"c{self._header.index(name)}" for name in columns)
        types = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(self._header)))
        query = (
            f"SELECT {selection} FROM read_csv(?, columns={{{types}}}, auto_detect=false, "
            f"header=true, delim='{self._delimiter}', quote='\"', escape='\"', "
            f"store_rejects=true, rejects_limit={_MAX_BROKEN})"
        )
        connection = connect()
        yield from scan(connection, query, self.path)
        self.broken = self._read_rejects(connection)

    def places(self, rows: Sequence[int]) -> list[str]:
        """The lines on which the rows begin."""
        records = self._records()
        next(records, None)
        well_formed = (line for line, cells in records if len(cells) == len(self._header))
        return _nth(well_formed, rows)

    def _read_rejects(self, connection: DuckDBPyConnection) -> list[tuple[str, str]]:
        errors = connection.execute(
            "SELECT line_byte_position, min(error_message) FROM reject_errors GROUP BY 1 ORDER BY 1"
        ).fetchall()
        if not errors:
            return []
        with _open_binary(self.path) as file:
            content = file.read(errors[-1][0])
        lines = [content.count(b"\n", 0, begin - 1) + 1 for begin, _ in errors]
        return [
            (f"line {line}", str(message).rstrip("."))
            for line, (_, message) in zip(lines, errors, strict=True)
        ]

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (first line, cells) of every non-blank record.

        Raises:
            DataError: a cell exceeds the size limit of a row.
        """
        csv.field_size_limit(MAX_ROW_CHARS)
        with _open_text(self.path) as file:
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
    """One JSON object per line; blank lines are skipped."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        names: dict[str, None] = {}
        for _, values in self._objects():
            if isinstance(values, dict):
                names.update(dict.fromkeys(values))
        self._columns = tuple(name for name in names if name)
        if not self._columns:
            raise DataError(f"{path.name} holds no JSON objects.", "Write one object per line.")

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys of all objects, in order of first appearance."""
        return self._columns

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the values of ``columns``; numbers as spelt in the file."""
        self.broken = []
        for line, values in self._objects():
            if isinstance(values, dict):
                yield tuple([_json_cell(values.get(name)) for name in columns])
            else:
                self.broken.append((f"line {line}", values))

    def places(self, rows: Sequence[int]) -> list[str]:
        """The lines of the rows."""
        return _nth((line for line, values in self._objects() if isinstance(values, dict)), rows)

    def _objects(self) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Yield (line, object), or (line, reason) for a malformed one."""
        decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
        with _open_text(self.path) as file:
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
                yield line, values if isinstance(values, dict) else "not a JSON object"


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

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the cells of ``columns``."""
        selection = ", ".join(self._expression(name) for name in columns)
        yield from scan(connect(), f"SELECT {selection} FROM read_parquet(?)", self.path)

    def places(self, rows: Sequence[int]) -> list[str]:
        """Row numbers, counted from 1."""
        return [f"row {row + 1}" for row in rows]

    def _expression(self, name: str) -> str:
        column = '"' + name.replace('"', '""') + '"'
        kind = self._types[name]
        if kind.endswith("]"):
            return f"CAST({column} AS VARCHAR[])"
        if kind in ("FLOAT", "DOUBLE"):
            whole = f"TRY_CAST({column} AS BIGINT)"
            return (
                f"CASE WHEN isnan({column}) THEN NULL WHEN {whole} = {column} "
                f"THEN CAST({whole} AS VARCHAR) ELSE CAST({column} AS VARCHAR) END"
            )
        if kind == "TIMESTAMP WITH TIME ZONE":
            return f"CAST(make_timestamp(epoch_us({column})) AS VARCHAR)"
        return f"CAST({column} AS VARCHAR)"


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


def _open_binary(path: Path) -> Any:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _open_text(path: Path) -> TextIO:
    # Bytes that are not UTF-8 become lone surrogates, which validation refuses.
    return io.TextIOWrapper(
        _open_binary(path), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )
