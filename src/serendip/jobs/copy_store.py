"""``serendip store copy``: moves the database of a workspace to another one, or back to a file.

Whoever writes waits meanwhile, and is refused afterwards: the old database is marked as moved, so
that it acknowledges nothing that the copy lacks. A copy back is a database without the mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serendip.data.store.config import DATABASE_FILE, StoreConfig
from serendip.data.store.move import mark_move
from serendip.data.store.store import Store
from serendip.data.store.table_copy import CopiedTable, CopyEnd, copy_rows, open_target
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError
from serendip.runtime.atomic_files import flush_folder

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData

FILE = "file"
"""Target that means the SQLite file of the workspace."""

_ENDINGS = ("", "-wal", "-shm")


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


def all_tables() -> list[MetaData]:
    """The tables of everything that a workspace keeps in its database."""
    from serendip.data.store.schema import METADATA
    from serendip.llm.ledger_table import METADATA as CALLS

    return [METADATA, CALLS]


def copy_store(workspace: Workspace, target: str) -> StoreCopy:
    """Copy the database of a workspace and mark the old one as moved; the settings still name it.

    Args:
        workspace: to copy from.
        target: URL of an empty PostgreSQL database, or ``file``.

    Raises:
        ConfigError: the target is no URL, or the file exists.
        DataError: the target cannot hold a text.
        StorageError: a database cannot be read or written, was moved before, the target has rows,
            or it reads back otherwise; nothing is left in it, unless only the mark is missing.
    """
    url = "" if target == FILE else check_url(target)
    with closing(workspace.open_store()) as store, store.frozen() as reading:
        copied = _copy(store, reading, url) if url else _copy_to_file(workspace, store, reading)
        mark_move(reading, copied.target)  # after the copy is durable: one of the two is writable
    return copied


def _copy_to_file(workspace: Workspace, store: Store, reading: Connection) -> StoreCopy:
    path = workspace.folder / DATABASE_FILE
    if path.exists():
        raise ConfigError(f"{path} exists.", "Move it away first.")
    part = path.with_name(f"{DATABASE_FILE}.copying")
    _remove(part)
    try:
        copied = _copy(store, reading, part)
        part.rename(path)
        flush_folder(path.parent)
    finally:
        _remove(part)
    return StoreCopy(DATABASE_FILE, copied.tables)


def _copy(store: Store, reading: Connection, place: Path | str) -> StoreCopy:
    """Copy a database, which nobody else writes, into another one, made where it is missing."""
    tables = all_tables()
    with open_target(place, tables) as target, target.write(may_pause=True) as writing:
        source = CopyEnd(store.database, reading)
        copied = copy_rows(source, CopyEnd(target, writing), tables)
        return StoreCopy(target.name, copied)


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


def _remove(path: Path) -> None:
    for ending in _ENDINGS:
        path.with_name(path.name + ending).unlink(missing_ok=True)
