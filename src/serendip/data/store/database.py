"""Opens databases, each of its kind: a SQLite file by its path, PostgreSQL by its URL.

Only ``create_database`` creates one; every other way in opens it unchanged.
"""

from __future__ import annotations

from pathlib import Path

from serendip.data.store.base import PATIENT_S, Database
from serendip.data.store.config import DatabasePlace
from serendip.errors import StorageError


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

    Raises:
        StorageError: it cannot be opened, or another version of this code made it.
    """
    from serendip.data.store.migrations import migrate

    database = open_database(place, create=True)
    try:
        with database.write() as connection:
            migrate(connection, database.name)
    except StorageError:
        database.close()
        raise
    return database


def existing_database(place: DatabasePlace, busy_timeout_s: float = PATIENT_S) -> Database:
    """Open the database of a store that exists; it reads only, so it waits for no writer.

    Raises:
        StorageError: the database or its tables are missing, it cannot be opened, or another
            version of this code made it.
    """
    from serendip.data.store.migrations import HEAD, find_revision

    database = open_database(place, False, busy_timeout_s)
    try:
        with database.read() as connection:
            revision = find_revision(connection, database.name)
        if revision is None:
            raise StorageError(
                f"database {database.name} has no tables.",
                "Restore it from a backup, or run `serendip import`, which rebuilds only what "
                "is in your files.",
            )
        if revision != HEAD:
            raise StorageError(
                f"database {database.name} is of an earlier version: it has revision {revision}, "
                f"this code {HEAD}.",
                "Make a copy of it and stop its services, then run `serendip import`: it upgrades "
                "the database before it reads your files again.",
            )
    except StorageError:
        database.close()
        raise
    return database
