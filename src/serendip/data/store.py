"""The store: items and events, the only source of truth of a workspace.

Everything else can be rebuilt from it. It knows rows, not meaning: which events count is decided
by whoever takes a snapshot. Writes are one transaction each and durable when they return; reads
never wait for a writer. One store may be used by many threads, one file by many processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

from serendip.data.database import Database
from serendip.data.event import Event
from serendip.data.event_columns import EventColumns
from serendip.data.growing_log import REMOVALS_KEY, GrowingLog, mark_of
from serendip.data.item import Item
from serendip.data.storable import id_problem, require_events, require_items
from serendip.data.stored_rows import event_row, item_row, items_of
from serendip.data.written import WrittenTexts

IMPORT_KEY = "import"

_CHUNK = 10_000
_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """What an import found in the files.

    Args:
        items: distinct items.
        events: events stored; those whose event_id was known already are not.
        duplicate_items: rows whose item_id came again; the last one counts.
        duplicate_examples: up to ten such ids.
    """

    items: int
    events: int
    duplicate_items: int
    duplicate_examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class StoreContent:
    """Items and events of one moment.

    Args:
        items: not deleted, in order of first insertion.
        events: the whole log.
    """

    items: Sequence[Item]
    events: EventColumns


class Store:
    """Items and events in one database."""

    def __init__(self, database: Database) -> None:
        from serendip.data import statements

        self._database = database
        self._sql = statements
        self._from_api = statements.upsert_items(database.dialect, "api")
        self._from_file = statements.upsert_items(database.dialect, "file")
        self._insert_events = statements.insert_events(database.dialect)
        self._set_meta = statements.upsert_meta(database.dialect)

    @classmethod
    def create(cls, url_or_path: str | Path) -> Self:
        """Open a database, creating file and tables where they are missing.

        Args:
            url_or_path: path of a SQLite file, or a SQLAlchemy URL.

        Raises:
            StorageError: the database cannot be opened, or takes no writes.
        """
        from serendip.data.schema import METADATA

        return cls(Database.with_tables(url_or_path, METADATA))

    @classmethod
    def open(cls, url_or_path: str | Path) -> Self:
        """Open a database that is there; nothing is written, so a full or read-only disk will do.

        Raises:
            StorageError: there is none, its tables are missing, or it cannot be opened.
        """
        from serendip.data.schema import METADATA

        return cls(Database.existing(url_or_path, METADATA))

    def keep_open(self) -> None:
        """Hold the connections that many readers need, even when the file is lost later."""
        self._database.keep_open()

    def problem(self) -> str:
        """Why a write would fail now, without trying one; empty = nothing is known."""
        return self._database.problem()

    def integrity(self) -> list[str]:
        """What is damaged in the database's file; empty = nothing."""
        return self._database.integrity()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def put_items(self, items: Iterable[Item]) -> int:
        """Add or replace items; a deleted one is back. The last of equal ids counts.

        Returns:
            number of distinct items.

        Raises:
            DataError: an item cannot be stored; none is.
            StorageError: the database takes no writes.
        """
        unique = {item.item_id: item for item in require_items(items)}
        with self._database.write() as connection:
            self._upsert(connection, unique.values(), "api")
        return len(unique)

    def delete_item(self, item_id: str) -> bool:
        """Delete an item for good: no import brings it back, only ``put_items``.

        Returns:
            whether there was one.
        """
        if id_problem(item_id):
            return False
        with self._database.write() as connection:
            version = int(connection.scalar(self._sql.MAX_VERSION) or 0) + 1
            values = {"id": item_id, "new_version": version, "writer": "api"}
            return bool(connection.execute(self._sql.TOMBSTONE, values).rowcount)

    def put_events(self, events: Iterable[Event]) -> int:
        """Append events; one whose ``event_id`` is there already changes nothing.

        Returns:
            number of events that were new.

        Raises:
            DataError: an event cannot be stored; none is.
            StorageError: the database takes no writes.
        """
        checked = list(require_events(events))
        with self._database.write() as connection:
            return self._append(connection, checked, "api")

    def import_all(self, items: Iterable[Item], events: Iterable[Event]) -> ImportCounts:
        """Replace all that former imports wrote, in one transaction.

        What the API wrote stays as it is: its events, its items, its deletions. An imported item
        that is not among ``items`` any more is deleted.

        Raises:
            DataError: a row cannot be stored; the former state stays.
            StorageError: the database takes no writes; the former state stays.
        """
        unique: dict[str, Item] = {}
        repeated: list[str] = []
        for item in require_items(items):
            if item.item_id in unique:
                repeated.append(item.item_id)
            unique[item.item_id] = item
        with self._database.write() as connection:
            self._upsert(connection, unique.values(), "file")
            self._delete_missing(connection, unique)
            connection.execute(self._sql.FORGET_FILE_EVENTS)
            removals = mark_of(connection).removals + 1
            connection.execute(self._set_meta, {"key": REMOVALS_KEY, "value": str(removals)})
            stored = self._append(connection, require_events(events), "file")
            examples = tuple(dict.fromkeys(repeated))[:10]
            counts = ImportCounts(len(unique), stored, len(repeated), examples)
            note = {"duplicate_items": counts.duplicate_items, "examples": examples}
            values = {"key": IMPORT_KEY, "value": json.dumps(note)}
            connection.execute(self._set_meta, values)
        return counts

    def items(self) -> list[Item]:
        """All items that are not deleted, in order of first insertion."""
        with self._database.read() as connection:
            return items_of(connection.execute(self._sql.ITEM_COLUMNS))

    def item(self, item_id: str) -> Item | None:
        """One item; None where it is unknown or deleted."""
        if id_problem(item_id):
            return None
        with self._database.read() as connection:
            found = items_of(connection.execute(self._sql.ITEM, {"id": item_id}))
        return found[0] if found else None

    def items_after(self, version: int) -> list[Item]:
        """Items that are new or changed since a version, in order of change."""
        with self._database.read() as connection:
            return items_of(connection.execute(self._sql.ITEMS_AFTER, {"after": version}))

    def deleted_ids(self) -> list[str]:
        """Ids of deleted items, in order of deletion."""
        with self._database.read() as connection:
            return list(connection.scalars(self._sql.DELETED))

    def history(self, user_id: str, limit: int, without: Sequence[str] = ()) -> list[Event]:
        """The last ``limit`` events of a user, oldest first; of any action but those named."""
        if id_problem(user_id):
            return []
        most = min(max(limit, 0), _MOST)
        values = {"user": user_id, "most": most, "without": list(without)}
        with self._database.read() as connection:
            rows = connection.execute(self._sql.HISTORY, values).all()
        return [Event(*row) for row in reversed(rows)]

    def requested(self, limit: int) -> list[Event]:
        """The last ``limit`` events that belong to a request or have words, oldest first."""
        values = {"most": min(max(limit, 0), _MOST)}
        with self._database.read() as connection:
            rows = connection.execute(self._sql.REQUESTED, values).all()
        return [Event(*row) for row in reversed(rows)]

    def users(self, limit: int, without: Sequence[str] = ()) -> list[tuple[str, int]]:
        """(user_id, number of events), most active first; of any action but those named."""
        values = {"most": min(max(limit, 0), _MOST), "without": list(without)}
        with self._database.read() as connection:
            return [(row[0], row[1]) for row in connection.execute(self._sql.USERS, values)]

    def queries(self, without: Sequence[str] = ()) -> list[str]:
        """What was typed before events of any action but those named, the most frequent first."""
        with self._database.read() as connection:
            return list(connection.scalars(self._sql.QUERIES, {"without": list(without)}))

    def content(self) -> StoreContent:
        """All items and events as they are at one moment."""
        with self._database.read() as connection:
            items = items_of(connection.execute(self._sql.ITEM_COLUMNS))
            rows = connection.execute(self._sql.EVENT_COLUMNS).all()
        return StoreContent(items, EventColumns.of_rows(rows))

    @property
    def log(self) -> GrowingLog:
        """The log of events as it grows."""
        return GrowingLog(self._database)

    @property
    def written(self) -> WrittenTexts:
        """What machines wrote about the items."""
        return WrittenTexts(self._database)

    def meta(self, key: str) -> str | None:
        """A remembered value; None where there is none."""
        value: str | None = self._scalar(self._sql.META_VALUE, {"name": key})
        return value

    def set_meta(self, key: str, value: str) -> None:
        """Remember a value under a key of at most 64 characters."""
        with self._database.write() as connection:
            connection.execute(self._set_meta, {"key": key, "value": value})

    def max_version(self) -> int:
        """The version of the last change to any item; 0 at first. It only grows."""
        return int(self._scalar(self._sql.MAX_VERSION))

    def count_items(self) -> int:
        """Number of items that are not deleted."""
        return int(self._scalar(self._sql.COUNT_ITEMS))

    def count_events(self) -> int:
        """Number of events."""
        return int(self._scalar(self._sql.COUNT_EVENTS))

    def max_seq(self) -> int:
        """The number of the last event; 0 where there is none."""
        return int(self._scalar(self._sql.MAX_SEQ))

    def _scalar(self, statement: Any, values: dict[str, Any] | None = None) -> Any:
        with self._database.read() as connection:
            return connection.scalar(statement, values or {})

    def _upsert(self, connection: Any, items: Iterable[Item], origin: str) -> None:
        version = connection.scalar(self._sql.MAX_VERSION)
        statement = self._from_api if origin == "api" else self._from_file
        rows = (item_row(item, version + step, origin) for step, item in enumerate(items, 1))
        for chunk in _chunks(rows):
            connection.execute(statement, chunk)

    def _delete_missing(self, connection: Any, present: dict[str, Item]) -> None:
        version = connection.scalar(self._sql.MAX_VERSION)
        missing = [name for name in connection.scalars(self._sql.FROM_FILES) if name not in present]
        for step, name in enumerate(missing, 1):
            values = {"id": name, "new_version": version + step, "writer": "file"}
            connection.execute(self._sql.TOMBSTONE, values)

    def _append(self, connection: Any, events: Iterable[Event], origin: str) -> int:
        rows = (event_row(event, origin) for event in events)
        return sum(
            connection.execute(self._insert_events, chunk).rowcount for chunk in _chunks(rows)
        )


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk
