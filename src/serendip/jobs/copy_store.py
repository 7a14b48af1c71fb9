"""``serendip store copy``: moves the database of a workspace to another one, or back to a file.

Whoever writes waits meanwhile, and is refused afterwards: the old database is marked as moved, so
that it acknowledges nothing that the copy lacks. A copy back is a database without the mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from serendip.data.store.config import DATABASE_FILE, DatabasePlace, StoreConfig
from serendip.data.store.store import Store
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError
from serendip.jobs.table_copy import CopiedTable, copy_rows, open_target
from serendip.runtime.atomic_files import flush_folder
from serendip.runtime.scratch import scratch_folder

if TYPE_CHECKING:
    from sqlalchemy import Connection

FILE = "file"
"""Target that means the SQLite file of the workspace."""


@dataclass(frozen=True, slots=True)
class StoreCopy:
    """A database that was copied.

    Args:
        target: its name, without a server or a password.
        tables: what it has.
    """

    target: str
    tables: Sequence[CopiedTable]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"target": self.target, "tables": [asdict(one) for one in self.tables]}


def copy_store(workspace: Workspace, target: str) -> StoreCopy:
    """Copy the database of a workspace and mark the old one as moved; the settings still name it.

    Args:
        workspace: to copy from.
        target: URL of an empty PostgreSQL database, or ``file``.

    Raises:
        ConfigError: the target is no URL, or the file exists.
        StorageError: a database cannot be read or written, was moved before, the target has rows or
            cannot hold a text, or it reads back otherwise; nothing is left in it, unless only the
            mark is missing.
    """
    with (
        closing(workspace.open_store()) as store,
        store.database.write(may_pause=True) as reading,  # nobody else writes meanwhile
    ):
        if target == FILE:
            copied = _copy_to_file(workspace, store, reading)
        else:
            copied = _copy(store, reading, check_url(target))
        store.database.mark_move(
            reading, copied.target
        )  # after the copy is durable: one of the two is writable
    return copied


def _copy_to_file(workspace: Workspace, store: Store, reading: Connection) -> StoreCopy:
    path = workspace.folder / DATABASE_FILE
    if path.exists():
        raise ConfigError(f"{path} exists.", "Move it away first.")
    with scratch_folder(workspace.training) as scratch:
        copied = _copy(store, reading, scratch / DATABASE_FILE)
        (scratch / DATABASE_FILE).rename(path)
        flush_folder(path.parent)
    return copied


def _copy(store: Store, reading: Connection, place: DatabasePlace) -> StoreCopy:
    with open_target(place) as (target, writing):
        return StoreCopy(target.name, copy_rows(store.database, reading, target, writing))


def check_url(text: str) -> str:
    """A URL of a PostgreSQL database as it was given.

    Raises:
        ConfigError: it is none; the message does not show it.
    """
    try:
        return StoreConfig(url=text).url
    except ValueError:
        raise ConfigError(
            "the target is no URL of a PostgreSQL database.",
            "Give postgresql+psycopg://user:password@host/database.",
        ) from None
