"""Versions of the tables of a store, as revisions of Alembic, for SQLite and PostgreSQL.

A new database gets the tables of ``schema`` as they are, and the number of the last revision; one
of an earlier version gets the revisions that it lacks, in one transaction that holds the write
lock. A revision that was published is never changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from serendip.errors import StorageError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

# Here so that a service needs no Alembic to see that there is nothing to do.
HEAD = "3"
VERSION_TABLE = "serendip_version"
FOLDER = Path(__file__).parent


def migrate(connection: Connection, name: str) -> None:
    """Make the tables of a new database, or run the revisions that it lacks, within a write."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

    from serendip.data.store.schema import METADATA

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

    One that this code does not know, or a version without revisions, is a ``StorageError``.
    """
    from sqlalchemy import inspect

    tables = inspect(connection).get_table_names()
    if VERSION_TABLE in tables:
        found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
    else:
        found = "none" if "items" in tables else None
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
