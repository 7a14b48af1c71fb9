"""Mark in a database that its rows were moved to another one, which alone may be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serendip.errors import StorageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

_KEY = "moved to"


def mark_move(connection: Connection, target: str) -> None:
    """Let this database refuse every later write, and name another one.

    Args:
        connection: in a write transaction.
        target: name of the other database, without a server or a password.
    """
    from serendip.data.store.schema import upsert_meta

    connection.execute(upsert_meta(connection.dialect.name), {"key": _KEY, "value": target})


def require_not_moved(connection: Connection, name: str) -> None:
    """Check that the rows of a database that has the table ``meta`` were not moved.

    Raises:
        StorageError: they were; what is written here would be missing there.
    """
    from serendip.data.store.schema import META_VALUE

    target = connection.scalar(META_VALUE, {"name": _KEY})
    if target:
        raise StorageError(
            f"database {name} was moved to {target}, so nothing is written here.",
            "Let [store] url name the new one and restart the service; or take the move back by "
            "`serendip store copy` from there.",
        )
