"""Queries of DuckDB over users' files, and over cells that were read from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serendip.errors import DataError
from serendip.runtime.threads import num_threads

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


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
        return connection.execute(query, [pattern_of(path)])
    except (duckdb.Error, MemoryError) as error:
        raise unreadable(path, error) from None


def pattern_of(path: Path) -> str:
    """The path as a glob pattern, which DuckDB reads; a bracketed wildcard matches itself."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path))


def unreadable(path: Path, error: BaseException) -> DataError:
    """The error of a file that DuckDB could not read."""
    too_large = ("Out of Memory", "maximum total string size")
    if isinstance(error, MemoryError) or any(words in str(error) for words in too_large):
        return DataError(
            f"{path.name} does not fit into memory.",
            "Leave columns and rows out of it, or give this process more memory.",
        )
    reason = str(error).strip().splitlines()[0].rstrip(".")
    return DataError(
        f"{path.name} cannot be read: {reason}.", "Does its format match its file extension?"
    )


def evaluate(cells: Sequence[str], make_sql: Callable[[str], str]) -> list[Any]:
    """Values of SQL over some cells, in their order.

    Args:
        cells: texts.
        make_sql: SQL of a text -> SQL of the value.
    """
    import pyarrow as pa

    connection = connect()
    connection.register("cells", pa.table({"cell": pa.array(cells, "string")}))
    found = connection.sql(f"SELECT {make_sql('cell')} FROM cells").fetchall()
    return [value for (value,) in found]
