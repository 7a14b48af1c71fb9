"""Rows of CSV and Parquet files as text, scanned by DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from serendip.errors import DataError
from serendip.scale.threads import num_threads

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
