"""Copies all rows of a database into another one, which may be of the other kind: all or nothing.

Rows are read in the order of their keys, which is the same on both. What was written is read back
before it is committed, and number and SHA-256 of the rows of each table are compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serendip.data.store.database import Database
from serendip.errors import DataError, StorageError

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData, Table

_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """A table that was copied.

    Args:
        name: of the table.
        rows: their number.
        checksum: SHA-256 of all rows, in the order of their keys.
    """

    name: str
    rows: int
    checksum: str


@dataclass(frozen=True, slots=True)
class CopyEnd:
    """One of the two databases of a copy.

    Args:
        database: that is read, or written.
        connection: to it, in a transaction.
    """

    database: Database
    connection: Connection


def copy_rows(source: CopyEnd, target: CopyEnd, tables: Sequence[MetaData]) -> list[CopiedTable]:
    """Copy all rows; the columns that count by themselves go on where those of the source are.

    Args:
        source: that nobody changes meanwhile.
        target: with all tables and without rows, in a write transaction.
        tables: that are copied, of those that the source has.

    Returns:
        what was copied.

    Raises:
        DataError: the target cannot hold a text of the source.
        StorageError: the target has rows, or what was written reads back otherwise.
    """
    from sqlalchemy import inspect

    existing = set(inspect(source.connection).get_table_names())
    chosen = [table for one in tables for table in one.sorted_tables if table.name in existing]
    for table in chosen:
        if target.connection.execute(table.select().limit(1)).first() is not None:
            raise StorageError(
                f"database {target.database.name} is not empty: table {table.name} has rows.",
                "Nothing was copied. Name an empty database.",
            )
    copied = [_copy_table(source.connection, target.connection, table) for table in chosen]
    for one, table in zip(copied, chosen, strict=True):
        if _summarise(target.connection, table) != one:
            raise StorageError(
                f"table {one.name} of database {target.database.name} reads back otherwise.",
                "Nothing was copied. Check the disk of the database.",
            )
        _copy_number(source, target, table)
    return copied


def copy_database(source: Database, path: Path, tables: Sequence[MetaData]) -> None:
    """Write a copy of a database as of this moment to a new SQLite file.

    Raises:
        StorageError: the copy cannot be written, or reads back otherwise.
    """
    with (
        open_target(path, tables) as target,
        source.read() as reading,
        target.write() as writing,
    ):
        copy_rows(CopyEnd(source, reading), CopyEnd(target, writing), tables)


@contextmanager
def open_target(place: Path | str, tables: Sequence[MetaData]) -> Iterator[Database]:
    """A database with these tables, made where they are missing."""
    for one in tables[1:]:
        Database.with_tables(place, one).close()
    with closing(Database.create(place)) as target:
        yield target


def _copy_number(source: CopyEnd, target: CopyEnd, table: Table) -> None:
    """Let the column of a table that counts by itself go on where that of the source is."""
    column = table.autoincrement_column
    if column is None:
        return
    number = source.database.last_number(source.connection, table.name, column.name)
    if number:
        target.database.set_last_number(target.connection, table.name, column.name, number)


def _copy_table(source: Connection, target: Connection, table: Table) -> CopiedTable:
    """Copy the rows of a table, which are summed up as they are read."""
    digest, count = hashlib.sha256(), 0
    names = [column.name for column in table.columns]
    for rows in _read(source, table):
        for row in rows:
            _require_storable(table.name, names, row)
            digest.update(_encode(row))
        count += len(rows)
        target.execute(table.insert(), [dict(zip(names, row, strict=True)) for row in rows])
    return CopiedTable(table.name, count, digest.hexdigest())


def _summarise(connection: Connection, table: Table) -> CopiedTable:
    digest, count = hashlib.sha256(), 0
    for rows in _read(connection, table):
        for row in rows:
            digest.update(_encode(row))
        count += len(rows)
    return CopiedTable(table.name, count, digest.hexdigest())


def _read(connection: Connection, table: Table) -> Iterator[Sequence[Any]]:
    """All rows in the order of their keys, by the thousand."""
    statement = table.select().order_by(*table.primary_key.columns)
    with connection.execute(statement, execution_options={"stream_results": True}) as result:
        yield from result.partitions(_CHUNK)


def _encode(row: Sequence[Any]) -> bytes:
    text = json.dumps(list(row), ensure_ascii=False, allow_nan=False, default=bytes.hex)
    return text.encode() + b"\n"


def _require_storable(table: str, names: Sequence[str], row: Sequence[Any]) -> None:
    """Refuse what an earlier version stored, and PostgreSQL cannot."""
    for name, value in zip(names, row, strict=True):
        if isinstance(value, str) and "\0" in value:
            raise DataError(
                f"column {name} of table {table} has a NUL character, which PostgreSQL cannot "
                f"store: {value[:40]!r}.",
                "Nothing was copied. Replace that text first.",
            )
