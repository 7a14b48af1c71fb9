"""Versions of the tables of a store, as revisions of Alembic, for SQLite and PostgreSQL.

A new database gets the tables of ``schema`` as they are, and the number of the last revision; one
of an earlier version gets the revisions that it lacks, in one transaction that holds the write
lock. A file of ``versions`` has the number of its revision in its name. A published one is never
changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect

from serendip.data.store.schema import METADATA
from serendip.errors import StorageError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

VERSION_TABLE = "serendip_version"
FOLDER = Path(__file__).parent
# The last revision, by the names of files: a service needs no Alembic to see that it has it.
HEAD = str(max(int(path.stem[1:].split("_")[0]) for path in FOLDER.glob("versions/r*.py")))


def migrate(connection: Connection, name: str) -> None:
    """Make the tables of a new database, or run the revisions that it lacks, within a write."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

    if find_revision(connection, name) == HEAD:
        return
    scripts = _scripts()

    def steps(present: Any, context: object) -> Any:
        if present:
            return scripts._upgrade_revs(HEAD, present)
        METADATA.create_all(connection)
        return scripts._stamp_revs(HEAD, present)

    with EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(connection=connection, version_table=VERSION_TABLE)
        environment.run_migrations()


def find_revision(connection: Connection, name: str) -> str | None:
    """The revision of a database, ``HEAD`` or an earlier one; None = it has no tables.

    One that this code does not know, a version without revisions, or one that lacks a column of the
    schema, is a ``StorageError``.
    """
    columns = inspect(connection).get_multi_columns()
    tables = {table: {column["name"] for column in columns[key, table]} for key, table in columns}
    if VERSION_TABLE in tables:
        found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
    else:
        found = "none" if "items" in tables else None
    for table in METADATA.sorted_tables if found == HEAD else ():
        if missing := set(table.columns.keys()) - tables.get(table.name, set()):
            raise StorageError(
                f"database {name} has revision {HEAD}, but no column {table.name}.{min(missing)}.",
                "Restore it from a backup, or use the version of Serendip that made it. A column "
                "that is new in the code needs a revision, too (CONTRIBUTING.md).",
            )
    if found in (None, HEAD) or found in {one.revision for one in _scripts().walk_revisions()}:
        return found
    raise StorageError(
        f"database {name} is of another version: it has revision {found}, this code {HEAD}.",
        "Keep it. Use the version of Serendip that made it; `serendip export` of that version "
        "writes what the API received, too, as files that `serendip init` of this one reads.",
    )


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(FOLDER))
