"""Rows of CSV, JSONL and Parquet files as text, with the place of each row for error messages.

DuckDB scans CSV and Parquet; JSON lines are parsed here, so that numbers keep the spelling of the
file. A cell is text, or a tuple of texts where the file has a list; empty and null cells are "".
Rows that the format itself forbids are not yielded but collected in ``broken``.

Places are physical lines, counted from 1, also where a quoted cell holds line breaks; a Parquet
file has no lines, so there they are rows, counted from 1.

Rows of CSV and Parquet files as text, scanned by DuckDB.
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
    """A database of its own in memory, which fetches nothing from anywhere."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": num_threads(),
        "autoinstall_known_extensions": False,
    }
    return duckdb.connect(":memory:", config=settings)


def run(connection: DuckDBPyConnection, query: str, path: Path) -> DuckDBPyConnection:
    """Run a query over a file.

    Args:
        connection: where it runs.
        query: with one place for the path.
        path: the file.

    Raises:
        DataError: the file cannot be read.
    """
    import duckdb

    # The path is a glob pattern to DuckDB; a bracketed wildcard stands for itself.
    pattern = "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path))
    try:
        return connection.execute(query, [pattern])
    except duckdb.Error as error:
        raise _unreadable(path, error) from None


def scan(
    connection: DuckDBPyConnection, query: str, path: Path
) -> Iterator[tuple[str | tuple[str, ...], ...]]:
    """Yield what a query over a file selects: text, or a tuple of texts where it has a list.

    Args:
        connection: where it runs.
        query: as for ``run``; it selects texts and lists of texts.
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
    return DataError(f"{path.name} cannot be read: {reason}.", "Is it what its ending says?")


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
        path: the file; its ending says the format (CSV and JSONL also with ``.gz``).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken: list[tuple[str, str]] = []
        """(place, reason) of rows that are not rows; complete once ``rows`` has ended."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in the order of the file; columns without a name are left out."""

    @abstractmethod
    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the cells of ``columns`` of every sound row, in the order of the file."""

    @abstractmethod
    def places(self, rows: Sequence[int]) -> list[str]:
        """Where sound rows stand, by their 0-based number, ascending; reads the file again."""


def open_table(path: Path) -> Table:
    """Open a file by its ending.

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
    """Text with a header; the delimiter is the one of ``, ; tab |`` that its lines agree on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with _open_text(path) as file:
            self._delimiter = _delimiter(list(islice(file, _SAMPLE_LINES)))
        header = next(self._records(), (0, []))[1]
        self._header = [name.strip() for name in header]
        if not any(self._header):
            raise DataError(f"{path.name} is empty.", "Its first line must name the columns.")
        twice = [name for name in self.columns if self._header.count(name) > 1]
        if twice:
            raise DataError(f"{path.name}: column {twice[0]!r} appears twice.", "Rename one.")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names in the header."""
        return tuple(name for name in self._header if name)

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the cells of ``columns``."""
        chosen = ", ".join(f"c{self._header.index(name)}" for name in columns)
        types = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(self._header)))
        query = (
            f"SELECT {chosen} FROM read_csv(?, columns={{{types}}}, auto_detect=false, "
            f"header=true, delim='{self._delimiter}', quote='\"', escape='\"', "
            f"store_rejects=true, rejects_limit={_MAX_BROKEN})"
        )
        connection = connect()
        yield from scan(connection, query, self.path)
        self.broken = self._rejected(connection)

    def places(self, rows: Sequence[int]) -> list[str]:
        """Lines on which rows begin."""
        records = self._records()
        next(records, None)
        sound = (line for line, cells in records if len(cells) == len(self._header))
        return _nth(sound, rows)

    def _rejected(self, connection: DuckDBPyConnection) -> list[tuple[str, str]]:
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
        """(first line, cells) of every record that is not blank.

        Raises:
            DataError: a cell is longer than any row may be.
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
                    "Shorten it; is a quotation mark left open?",
                ) from None


class JsonTable(Table):
    """One JSON object per line; blank lines do not count."""

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
        """Yield the values of ``columns``; numbers as they are spelt in the file."""
        self.broken = []
        for line, values in self._objects():
            if isinstance(values, dict):
                yield tuple([_json_cell(values.get(name)) for name in columns])
            else:
                self.broken.append((f"line {line}", values))

    def places(self, rows: Sequence[int]) -> list[str]:
        """Lines on which rows stand."""
        return _nth((line for line, values in self._objects() if isinstance(values, dict)), rows)

    def _objects(self) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """(line, object), or (line, why it is none)."""
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
    """A Parquet file; whole floats lose their ``.0`` and NaN counts as missing."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        described = run(connect(), "DESCRIBE SELECT * FROM read_parquet(?)", path).fetchall()
        self._types: dict[str, str] = {str(name): str(kind) for name, kind, *_ in described}

    @property
    def columns(self) -> tuple[str, ...]:
        """Names in the schema."""
        return tuple(name for name in self._types if name)

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the cells of ``columns``."""
        chosen = ", ".join(self._expression(name) for name in columns)
        yield from scan(connect(), f"SELECT {chosen} FROM read_parquet(?)", self.path)

    def places(self, rows: Sequence[int]) -> list[str]:
        """Rows, counted from 1."""
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
    """The sign that most lines hold as often as the header does; signs within quotes do not count.

    Lines inside a quoted cell are noise; a tie is settled by the header, where no blank
    follows a delimiter, and by how often it has the sign.
    """
    plain = [re.sub(r'"[^"]*"', "", line) for line in lines] or [""]

    def agreement(sign: str) -> tuple[int, int, int]:
        wanted = plain[0].count(sign)
        return (
            sum(line.count(sign) == wanted for line in plain) if wanted else 0,
            wanted - plain[0].count(f"{sign} "),
            wanted,
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
    """Lines; of one that is longer than a row may be, one character more than that."""
    while line := file.readline(MAX_ROW_CHARS + 1):
        yield line
        while len(line) > MAX_ROW_CHARS and line[-1] not in "\r\n":
            line = file.readline(MAX_ROW_CHARS + 1) or "\n"


def _nth(places: Iterable[int], rows: Sequence[int]) -> list[str]:
    wanted = set(rows)
    found: list[str] = []
    if not wanted:
        return found
    for row, line in enumerate(places):
        if row in wanted:
            found.append(f"line {line}")
            if len(found) == len(wanted):
                break
    return found


def _open_binary(path: Path) -> Any:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _open_text(path: Path) -> TextIO:
    # Bytes that are no UTF-8 become lone surrogates, which no id or text may hold.
    return io.TextIOWrapper(
        _open_binary(path), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )
