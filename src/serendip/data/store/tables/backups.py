"""The backups of one workspace that its database knows: receipts of erasures name older ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serendip.data.store.database import Database


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup.

    Args:
        created: Unix seconds at which it began.
        target: path or URI, without passwords.
        removals: how often events had been removed from the log before.
        item_version: of the items in it.
    """

    created: float
    target: str
    removals: int
    item_version: int


class Backups:
    """The table of backups of one database."""

    def __init__(self, database: Database) -> None:
        from serendip.data.store import schema

        self._database, self._sql = database, schema

    def all(self) -> list[Backup]:
        """All backups that are known, oldest first."""
        with self._database.read() as connection:
            return [Backup(*row) for row in connection.execute(self._sql.BACKUPS)]

    def add(self, backup: Backup) -> None:
        """Note a backup, in place of an earlier one at the same target."""
        with self._database.write() as connection:
            connection.execute(self._sql.FORGET_BACKUP, {"place": backup.target})
            connection.execute(self._sql.ADD_BACKUP, asdict(backup))

    def forget(self, target: str) -> bool:
        """Forget a backup that was deleted; whether it was known."""
        with self._database.write() as connection:
            return connection.execute(self._sql.FORGET_BACKUP, {"place": target}).rowcount > 0
