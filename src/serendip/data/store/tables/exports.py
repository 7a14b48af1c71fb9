"""The files with ids of users, or texts of items, that commands wrote from one workspace."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from serendip.data.store.database import Database


@dataclass(frozen=True, slots=True)
class Export:
    """A file or folder that was written, or is being written.

    Args:
        path: absolute, or relative to the workspace.
        removals: how often events had been removed from the log before it was read.
        item_version: of the items in it.
    """

    path: str
    removals: int
    item_version: int


class Exports:
    """The table of exports of one database."""

    def __init__(self, database: Database) -> None:
        from serendip.data.store import schema

        self._database, self._sql = database, schema

    def all(self) -> list[Export]:
        """All exports that are known, by path."""
        with self._database.read() as connection:
            return [Export(*row) for row in connection.execute(self._sql.EXPORTS)]

    def begin(self, export: Export) -> None:
        """Note an export before its first byte; what its path has from before stays older."""
        with self._database.write() as connection:
            row = connection.execute(self._sql.EXPORT, {"place": export.path}).one_or_none()
            if row is not None:
                known = Export(*row)
                export = Export(
                    export.path,
                    min(known.removals, export.removals),
                    min(known.item_version, export.item_version),
                )
            self._replace(connection, export)

    def end(self, export: Export) -> None:
        """Note an export whose path has nothing from before any more."""
        with self._database.write() as connection:
            self._replace(connection, export)

    def _replace(self, connection: Connection, export: Export) -> None:
        connection.execute(self._sql.FORGET_EXPORT, {"place": export.path})
        connection.execute(self._sql.ADD_EXPORT, asdict(export))
