"""Schema versions of a database on PostgreSQL, as revisions of Alembic.

A revision is written down once and never changed; a later one changes what is there. All run in one
transaction that holds the write lock. A SQLite file has no revisions: ``upgrade`` adds to it what
it lacks. ``schema`` says for both what the result is, and a test compares the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serendip.errors import StorageError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

HEAD = "0003"
"""The last revision, here so that a service needs no Alembic to see that there is nothing to do."""

VERSION_TABLE = "serendip_version"


def is_behind(connection: Connection, name: str) -> bool:
    """Whether a database was made by an earlier revision; False for one without tables.

    Raises:
        StorageError: it was made by a revision that this code does not know.
    """
    found = _revision(connection)
    if found in ("", HEAD):
        return False
    _require_known(found, name)
    return True


def migrate(connection: Connection, name: str, revision: str = HEAD) -> None:
    """Run all revisions that a database lacks, within a write transaction.

    Args:
        connection: to the database.
        name: of the database.
        revision: the last one to run.

    Raises:
        StorageError: it was made by a revision that this code does not know.
    """
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

    found = _revision(connection)
    if found == revision:
        return
    if found:
        _require_known(found, name)
    scripts = _scripts()

    def steps(present: object, context: object) -> object:
        return scripts._upgrade_revs(revision, present)  # type: ignore[arg-type]

    with EnvironmentContext(Config(), scripts, fn=steps) as environment:
        environment.configure(connection=connection, version_table=VERSION_TABLE)
        environment.run_migrations()


def _revision(connection: Connection) -> str:
    """The revision of a database; empty = it has no tables."""
    known = connection.exec_driver_sql(f"SELECT to_regclass('{VERSION_TABLE}')::text").scalar()
    if known is None:
        return ""
    statement = f"SELECT max(version_num) FROM {VERSION_TABLE}"
    return str(connection.exec_driver_sql(statement).scalar() or "")


def _require_known(revision: str, name: str) -> None:
    """Refuse a database that a later version of this code made."""
    from alembic.util import CommandError

    try:
        _scripts().get_revision(revision)
    except CommandError:
        raise StorageError(
            f"database {name} is of another version: it has revision {revision}, this code {HEAD}.",
            "Install the version of Serendip that made it, or a later one.",
        ) from None


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(Path(__file__).parent))
