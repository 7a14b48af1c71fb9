"""Staging table of an import: items are written aside before the write lock is taken.

Nobody else can write while the write lock is held. So items are first staged in a temporary table,
on disk, visible to one connection and without a lock; the transaction that follows is a few
statements inside the database. Loaded only by an import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    Table,
    bindparam,
    false,
    literal,
    select,
)

from serendip.data.store.item_rows import ITEM_NAMES, last_of_each
from serendip.data.store.schema import FROM_FILE, FROM_FILES, ITEMS, upsert_items
from serendip.data.store.upsert import insert_into, insert_rows

if TYPE_CHECKING:
    import pyarrow as pa

_CHUNK = 10_000

_TABLES = MetaData()
_PLACE = BigInteger().with_variant(Integer, "sqlite")

_ITEMS = Table(
    "staged_items",
    _TABLES,
    Column("place", _PLACE, primary_key=True, autoincrement=True),  # order of arrival
    *(Column(name, ITEMS.c[name].type) for name in ITEM_NAMES),
    prefixes=["TEMPORARY"],
)

_NEW_VERSION: ColumnElement[int] = bindparam("version") + _ITEMS.c.place
_NEW_ITEMS = select(
    *(_ITEMS.c[name] for name in ITEM_NAMES),
    false().label("deleted"),
    literal(FROM_FILE).label("origin"),
    _NEW_VERSION.label("number"),
    _NEW_VERSION.label("version"),
).order_by(_ITEMS.c.place)
_LEFT_OUT = FROM_FILES.where(ITEMS.c.item_id.not_in(select(_ITEMS.c.item_id)))


class Staging:
    """The staged items of one connection.

    Args:
        connection: not shared and outside any transaction; the table ends with it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        names = [*ITEM_NAMES, "deleted", "origin", "number", "version"]
        self._put_items = upsert_items(connection.dialect.name, FROM_FILE, _NEW_ITEMS, names)

    def stage(self, items: pa.Table) -> tuple[int, list[str]]:
        """Write items aside, of a repeated id the last row.

        Args:
            items: valid, see ``item_rows``.

        Returns:
            number of items, and the ids of the rows that repeat an id.
        """
        unique, repeated = last_of_each(items)
        with self._connection.begin():
            _TABLES.create_all(self._connection, checkfirst=False)
            insert = insert_into(self._connection.dialect.name, _ITEMS, ITEM_NAMES)
            for begin in range(0, len(unique), _CHUNK):
                columns = unique.slice(begin, _CHUNK).select(ITEM_NAMES).columns
                rows = zip(*(column.to_pylist() for column in columns), strict=True)
                by_name = [dict(zip(ITEM_NAMES, row, strict=True)) for row in rows]
                insert_rows(self._connection, insert, by_name)
        return len(unique), repeated

    def put_items(self, version: int) -> None:
        """Add or replace the staged items, within a write transaction.

        Args:
            version: the highest one in use.
        """
        self._connection.execute(self._put_items, {"version": version})

    def left_out(self) -> list[str]:
        """Ids of items of an earlier import that are not staged."""
        return list(self._connection.scalars(_LEFT_OUT))
