"""Staging tables of an import: rows are parsed and validated before the write lock is taken.

Files may take minutes to read, and nobody else can write while the write lock is held. So rows
are first staged in temporary tables, on disk, visible to one connection and without a lock; the
transaction that follows is a few statements inside the database. Loaded only by an import.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    Table,
    bindparam,
    select,
)

from serendip.data.event import Event
from serendip.data.item import Item
from serendip.data.store.schema import (
    EVENTS,
    FROM_FILE,
    FROM_FILES,
    ITEMS,
    event_row,
    insert_events,
    item_row,
    upsert_items,
)
from serendip.data.store.validation import require_events, require_items

_CHUNK = 10_000

_TABLES = MetaData()
_PLACE = BigInteger().with_variant(Integer, "sqlite")


def _temporary(name: str, like: Table, without: tuple[str, ...]) -> Table:
    """A temporary table with the columns of another; ``place`` is the order of arrival."""
    columns = [Column(column.name, column.type) for column in like.c if column.name not in without]
    place = Column("place", _PLACE, primary_key=True, autoincrement=True)
    return Table(name, _TABLES, place, *columns, prefixes=["TEMPORARY"])


_ITEMS = _temporary("staged_items", ITEMS, ("number", "version"))
_EVENTS = _temporary("staged_events", EVENTS, ("seq",))

_ITEM_NAMES = [column.name for column in _ITEMS.c if column.name != "place"]
_EVENT_NAMES = [column.name for column in _EVENTS.c if column.name != "place"]

_NEW_VERSION: ColumnElement[int] = bindparam("version") + _ITEMS.c.place
_NEW_ITEMS = select(
    *(_ITEMS.c[name] for name in _ITEM_NAMES),
    _NEW_VERSION.label("number"),
    _NEW_VERSION.label("version"),
).order_by(_ITEMS.c.place)
_NEW_EVENTS = select(*(_EVENTS.c[name] for name in _EVENT_NAMES)).order_by(_EVENTS.c.place)
_LEFT_OUT = FROM_FILES.where(ITEMS.c.item_id.not_in(select(_ITEMS.c.item_id)))


class Staging:
    """The staged rows of one connection.

    Args:
        connection: not shared and outside any transaction; the tables end with it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        dialect = connection.dialect.name
        self._put_items = upsert_items(
            dialect, FROM_FILE, _NEW_ITEMS, [*_ITEM_NAMES, "number", "version"]
        )
        self._put_events = insert_events(dialect, _NEW_EVENTS, _EVENT_NAMES)

    def stage(self, items: Iterable[Item], events: Iterable[Event]) -> None:
        """Read and validate all rows.

        Args:
            items: with unique ids.
            events: in the order in which to store them.

        Raises:
            DataError: a row cannot be stored.
        """
        with self._connection.begin():
            _TABLES.create_all(self._connection, checkfirst=False)
            item_rows = (item_row(item, FROM_FILE) for item in require_items(items))
            event_rows = (event_row(event, FROM_FILE) for event in require_events(events))
            for table, rows in ((_ITEMS, item_rows), (_EVENTS, event_rows)):
                for chunk in _chunks(rows):
                    self._connection.execute(table.insert(), chunk)

    def put_items(self, version: int) -> None:
        """Add or replace the staged items, within a write transaction.

        Args:
            version: the highest one in use.
        """
        self._connection.execute(self._put_items, {"version": version})

    def left_out(self) -> list[str]:
        """Ids of items of an earlier import that are not staged."""
        return list(self._connection.scalars(_LEFT_OUT))

    def append_events(self) -> int:
        """Append the staged events, within a write transaction; returns the number of new ones."""
        return int(self._connection.execute(self._put_events).rowcount)


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk
