"""Opens databases, each of its kind, and copies their rows from one kind to the other.

Only ``create_database`` creates one; every other way in opens it unchanged.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

from serendip.data.store import migrations
from serendip.data.store.base import PATIENT_S, Database
from serendip.data.store.config import DatabasePlace
from serendip.data.store.migrations import find_revision, migrate
from serendip.data.store.schema import METADATA
from serendip.errors import StorageError

_CHUNK = 1_000


def open_database(
    place: DatabasePlace, create: bool = False, busy_timeout_s: float = PATIENT_S
) -> Database:
    """A database, of which nothing is read yet."""
    if "://" in str(place):
        from serendip.data.store.postgres import PostgresDatabase

        return PostgresDatabase(str(place), busy_timeout_s)
    from serendip.data.store.sqlite import SqliteDatabase

    return SqliteDatabase(Path(place), create, busy_timeout_s)


def create_database(place: DatabasePlace) -> Database:
    """Open a database of a store, creating file and tables where they are missing.

    One of a later version is a ``StorageError``; one of an earlier version is upgraded.
    """
    with ExitStack() as stack:
        database = open_database(place, create=True)
        stack.callback(database.close)
        with database.write() as connection:
            migrate(connection, database.name)
        stack.pop_all()
    return database


def existing_database(place: DatabasePlace, busy_timeout_s: float = PATIENT_S) -> Database:
    """Open the database of a store that exists; it reads only, so it waits for no writer.

    If it or its tables are missing, or are of another version, it is a ``StorageError``.
    """
    with ExitStack() as stack:
        database = open_database(place, False, busy_timeout_s)
        stack.callback(database.close)
        with database.read() as connection:
            revision = find_revision(connection, database.name)
        if revision is None:
            raise StorageError(
                f"database {database.name} has no tables.",
                "Restore it from a backup, or run `serendip import`, which rebuilds only what "
                "is in your files.",
            )
        if revision != migrations.HEAD:
            raise StorageError(
                f"database {database.name} is of an earlier version: it has revision {revision}, "
                f"this code {migrations.HEAD}.",
                "Make a copy of it and stop its services, then run `serendip import`: it upgrades "
                "the database before it reads your files again.",
            )
        stack.pop_all()
    return database


def copy_rows(source: Database, place: DatabasePlace) -> None:
    """Copy all rows of a database of this version into one without rows, which gets its tables.

    It may be of the other kind. Columns that count by themselves go on where they were. All rows
    are copied or none.
    """
    with (
        closing(create_database(place)) as target,
        source.read() as reading,
        target.write(may_pause=True) as writing,
    ):
        for table in METADATA.sorted_tables:
            if writing.execute(table.select().limit(1)).first() is not None:
                raise StorageError(
                    f"database {target.name} is not empty: table {table.name} has rows.",
                    "Nothing was copied. Name an empty database.",
                )
            read = reading.execute(table.select(), execution_options={"stream_results": True})
            for rows in read.partitions(_CHUNK):
                writing.execute(table.insert(), [dict(row._mapping) for row in rows])
            if (column := table.autoincrement_column) is not None:
                last = source.last_number(reading, table.name, column.name)
                if last:
                    target.set_last_number(writing, table.name, column.name, last)
