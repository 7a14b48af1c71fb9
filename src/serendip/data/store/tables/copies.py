"""The copies of a workspace's data that its database knows: receipts of erasures name older ones.

A backup is noted with the place that was given for it, without passwords. An export is a file or
folder with ids of users, or texts of items, that a command wrote or is writing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import select

from serendip.data.store.schema import COPIES
from serendip.data.store.upsert import upsert

if TYPE_CHECKING:
    from serendip.data.store.base import Database


@dataclass(frozen=True, slots=True)
class DataCopy:
    """A copy.

    Args:
        place: URI, or path: absolute, or relative to the workspace.
        removals: how often events had been removed from the log before it was read.
    """

    place: str
    removals: int
    item_version: int


class Copies:
    """The copies of one kind of one database."""

    def __init__(self, database: Database, kind: Literal["backup", "export"]) -> None:
        self._database, self._kind = database, kind
        self._rows = select(COPIES.c.place, COPIES.c.removals, COPIES.c.item_version)
        self._rows = self._rows.where(COPIES.c.kind == kind).order_by(COPIES.c.place)

    def all(self) -> list[DataCopy]:
        """All that are known, by place."""
        with self._database.read() as connection:
            return [DataCopy(*row) for row in connection.execute(self._rows)]

    def begin(self, copy: DataCopy) -> None:
        """Note a copy before its first byte; what its place has from before stays older."""
        known = {one.place: one for one in self.all()}.get(copy.place, copy)
        removals = min(known.removals, copy.removals)
        self.end(DataCopy(copy.place, removals, min(known.item_version, copy.item_version)))

    def end(self, copy: DataCopy) -> None:
        """Note a copy whose place has nothing from before any more."""
        with self._database.write() as connection:
            upsert(connection, COPIES, [{"kind": self._kind, **asdict(copy)}])

    def forget(self, place: str) -> bool:
        """Forget a copy that was deleted; whether it was known."""
        chosen = COPIES.delete().where(COPIES.c.kind == self._kind, COPIES.c.place == place)
        with self._database.write() as connection:
            return connection.execute(chosen).rowcount > 0
