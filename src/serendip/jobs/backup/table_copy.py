"""Copies all rows of a database into another one, which may be of the other kind: all or nothing.

Rows are read in the order of their keys, which is the same on both. What was written is read back
before it is committed, and the SHA-256 of the rows of each table is compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from serendip.data.store.base import Database
from serendip.data.store.config import DatabasePlace
from serendip.data.store.database import create_database
from serendip.errors import StorageError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

_CHUNK = 1_000


def copy_rows(source: Database, reading: Connection, target: Database, writing: Connection) -> None:
    """Copy all rows; the columns that count by themselves go on where those of the source are.

    The source is read in a transaction; the target has all tables and no rows, and is written in a
    transaction.

    Raises:
        StorageError: the target has rows, cannot hold a text of the source, or what was written
            reads back otherwise.
    """
    from sqlalchemy import inspect

    from serendip.data.store.schema import METADATA

    existing = set(inspect(reading).get_table_names())
    chosen = [table for table in METADATA.sorted_tables if table.name in existing]
    for table in chosen:
        if writing.execute(table.select().limit(1)).first() is not None:
            raise StorageError(
                f"database {target.name} is not empty: table {table.name} has rows.",
                "Nothing was copied. Name an empty database.",
            )
    for table in chosen:
        if _summarise(reading, table, writing) != _summarise(writing, table):
            raise StorageError(
                f"table {table.name} of database {target.name} reads back otherwise.",
                "Nothing was copied. Check the disk of the database.",
            )
        column = table.autoincrement_column
        if column is not None and (number := source.last_number(reading, table.name, column.name)):
            target.set_last_number(writing, table.name, column.name, number)


@contextmanager
def open_target(place: DatabasePlace) -> Iterator[tuple[Database, Connection]]:
    """A database with all tables, made where they are missing, in a write transaction."""
    with closing(create_database(place)) as target, target.write(may_pause=True) as writing:
        yield target, writing


def _summarise(connection: Connection, table: Table, target: Connection | None = None) -> str:
    digest = hashlib.sha256()
    statement = table.select().order_by(*table.primary_key.columns)
    with connection.execute(statement, execution_options={"stream_results": True}) as result:
        for rows in result.partitions(_CHUNK):
            for row in rows:
                text = json.dumps(list(row), ensure_ascii=False, allow_nan=False, default=bytes.hex)
                digest.update(text.encode() + b"\n")
            if target is not None:
                target.execute(table.insert(), [dict(row._mapping) for row in rows])
    return digest.hexdigest()
