"""Damage to a database's file that reading its rows does not meet."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from serendip.data.database import Database


def damage_index(path: Path) -> None:
    """Alter the page of the index on item ids."""
    with closing(Database(path)) as database, database.read() as connection:
        size = int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
        root = connection.exec_driver_sql(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_items_1'"
        ).scalar_one()
    with path.open("r+b") as stream:
        stream.seek(int(root) * size - 40)
        end = stream.read(40)
        stream.seek(-40, 1)
        stream.write(end.replace(b"i", b"j"))
