"""The store of items and events: the only source of truth of a workspace.

Everything else can be rebuilt from it. It does not interpret its rows: a snapshot decides which
events count. Each write takes effect in one transaction, but for packing, which goes on where it
was, and is durable when it returns; reads never wait for a writer. Many threads may share a store,
many processes a file.

Items and the newest events of the API are rows, all other events are packed (``event_log``).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, Row, bindparam, case, func, not_, or_, select

from serendip.data.events.event import Event
from serendip.data.events.event_table import tabulate_events
from serendip.data.items.catalogue import Item
from serendip.data.rows.arrow import tabulate
from serendip.data.store.base import PATIENT_S, Database
from serendip.data.store.config import DatabasePlace
from serendip.data.store.database import create_database, existing_database, open_database
from serendip.data.store.event_log.pack_writer import ERASED_BYTES_KEY, PackWriter, note_remains
from serendip.data.store.event_log.reader import FETCHED, MOST, LogReader
from serendip.data.store.item_rows import (
    ITEM_NAMES,
    items_of,
    last_of_each,
    tabulate_items,
)
from serendip.data.store.schema import (
    BLANK_ITEMS,
    ERASED_USERS,
    FROM_API,
    FROM_FILE,
    FROM_FILES,
    ITEMS,
    event_row,
    insert_events,
    item_row,
    read_meta,
    set_meta,
    upsert_items,
)
from serendip.data.store.tables.copies import Copies
from serendip.data.store.tables.erased_users import (
    Erasures,
    UserErasure,
    adopt_erasures,
    put_erasures,
    read_erasures,
)
from serendip.data.store.tables.generated import GeneratedTable
from serendip.data.store.tables.users import Users
from serendip.data.store.upsert import insert_rows
from serendip.data.store.validation import event_problem, id_problem, item_problem, require_valid
from serendip.data.users.user import User
from serendip.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


_log = logging.getLogger(__name__)

IMPORT_KEY, ITEM_ERASURE_KEY = "import", "item erasure"

_CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """Counts of an import.

    Args:
        events: events stored, without those whose event_id was stored already.
        erased_events: events left out, as their users were erased after them.
        deleted_items: of earlier imports, which are not read again.
    """

    items: int
    events: int
    users: int
    erased_events: int
    deleted_items: int


@dataclass(frozen=True, slots=True, eq=False)
class StoreTables:
    """Everything in a store, at one moment.

    Args:
        events: in order of arrival; see ``events.event_table``.
    """

    items: Sequence[Item]
    users: Sequence[User]
    events: pa.Table


@dataclass(frozen=True, slots=True, eq=False)
class ItemChanges:
    """What happened to the items of a store since a version.

    Args:
        version: of the last change.
        items: that changed, those that are deleted now included.
        deleted: ids of those that are deleted now.
    """

    after: int
    version: int
    items: Sequence[Item]
    deleted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """Numbers of items by what happened to them since a version of the store.

    Args:
        new: added since, and not deleted.
        changed: known before, and changed.
        deleted: known before, and deleted.
    """

    new: int = 0
    changed: int = 0
    deleted: int = 0

    @property
    def total(self) -> int:
        """Number of items to which anything happened."""
        return self.new + self.changed + self.deleted


class Store(AbstractContextManager["Store"]):
    """Items and events in one database; a ``with`` block closes it."""

    def __init__(self, database: Database) -> None:
        self.database, self.log = database, LogReader(database)
        self.users = Users(database)
        self._writer = PackWriter(self.log, self.users)
        self.backups = Copies(database, "backup")
        self.exports = Copies(database, "export")
        self.generated = GeneratedTable(database)
        self._upsert_items = upsert_items(database.dialect, "api")
        self._insert_events = insert_events(database.dialect)

    @staticmethod
    def exists(place: DatabasePlace) -> bool:
        """Whether there is a database, with or without rows.

        Raises:
            StorageError: its server cannot be reached.
        """
        if "://" not in str(place):
            return Path(place).exists()
        with closing(open_database(place)) as database:
            return database.has_tables()

    @classmethod
    def create(cls, place: DatabasePlace) -> Self:
        """Open a database, creating file and tables where they are missing.

        Raises:
            StorageError: the database cannot be opened or written to.
        """
        return cls(create_database(place))

    @classmethod
    def open(cls, place: DatabasePlace, busy_timeout_s: float = PATIENT_S) -> Self:
        """Open an existing database; writes nothing, so a full or read-only disk is enough.

        Raises:
            StorageError: the database or a table is missing, or it cannot be opened.
        """
        return cls(existing_database(place, busy_timeout_s))

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def put_items(self, items: Iterable[Item]) -> ItemChanges:
        """Add or replace items; restores deleted ones. The last of equal ids counts.

        Raises:
            DataError: an item is invalid; none is stored.
            StorageError: the database cannot be written to.
        """
        unique = {item.item_id: item for item in require_valid(items, item_problem, "an item")}
        rows = [item_row(item, "api") for item in unique.values()]
        with self.database.write() as connection:
            version = _max_version(connection)
            for step, row in enumerate(rows, 1):
                row["number"] = row["version"] = version + step
            if rows:
                insert_rows(connection, self._upsert_items, rows)
        stored = items_of([row[name] for name in ITEM_NAMES] for row in rows)
        return ItemChanges(version, version + len(rows), stored)

    def delete_item(self, item_id: str) -> bool:
        """Delete an item permanently, if there is one; only ``put_items`` restores it."""
        if id_problem(item_id):
            return False

        with self.database.write() as connection:
            return _delete(connection, [item_id], FROM_API) > 0

    def erase_item(self, item_id: str) -> bool:
        """Delete an item and all that the database has about it but its id.

        The id stays so that no import brings the item back, also one that the database never had;
        only ``put_items`` does. Events keep it: they are their users'. The bytes are gone after
        ``remove_erased``.

        Returns:
            whether the database had the item, deleted or not.
        """
        if id_problem(item_id):
            return False
        with self.database.write() as connection:
            version = _max_version(connection) + 1
            blank = {**item_row(Item(item_id), FROM_API), "deleted": True, "version": version}
            change = ITEMS.update().where(ITEMS.c.item_id == item_id).values(blank)
            is_known = connection.execute(change).rowcount > 0
            if not is_known:  # an import may bring it: its id is kept from now on
                connection.execute(ITEMS.insert(), {**blank, "number": version})
            self.generated.remove_item(connection, item_id)
            note_remains(connection)
            set_meta(connection, ITEM_ERASURE_KEY, str(version))
        return is_known

    def last_item_erasure(self) -> int:
        """Version of the items at which the last one was erased; 0 = none was."""
        return int(self.meta(ITEM_ERASURE_KEY) or 0)

    def put_events(self, events: Iterable[Event]) -> int:
        """Append events; an event whose ``event_id`` is already stored is skipped.

        So is one that happened before its user was erased.

        Raises:
            DataError: an event is invalid; none is stored.
            StorageError: the database cannot be written to.
        """
        (stored,) = self.put_event_groups([events])
        if isinstance(stored, DataError):
            raise stored
        return stored

    def put_event_groups(self, groups: Iterable[Iterable[Event]]) -> list[int | DataError]:
        """Append groups of events in one transaction (group commit), each as by ``put_events``.

        Args:
            groups: drawn one by one inside the transaction: a post that arrives while it is open
                can still join it.

        Returns:
            number of new events of each group; the error where one of its events is invalid: none
            of that group is stored.

        Raises:
            StorageError: the database cannot be written to; no group is stored.
        """
        stored: list[int | DataError] = []
        packs: Sequence[Row[Any]] | None = None
        with ExitStack() as transaction:
            for events in groups:
                try:
                    valid = require_valid(events, event_problem, "an event")
                    rows = list(map(event_row, valid))
                except DataError as error:
                    stored.append(error)
                    continue
                if packs is None:
                    connection = transaction.enter_context(self.database.write())
                    packs = self.log.packs(connection)
                stored.append(self._append(connection, packs, rows))
        return stored

    def _append(
        self, connection: Connection, packs: Sequence[Row[Any]], rows: Sequence[dict[str, Any]]
    ) -> int:
        erasures = read_erasures(connection, {row["user_id"] for row in rows})
        is_packed = self.log.is_packed([row["event_id"] or "" for row in rows], packs, connection)
        new = [
            row
            for row, is_known in zip(rows, is_packed.tolist(), strict=True)
            if not is_known and not erasures.is_late(row["user_id"], row["timestamp"])
        ]
        return insert_rows(connection, self._insert_events, new) if new else 0

    def import_all(self, items: Iterable[Item], events: Iterable[Event]) -> ImportCounts:
        """Replace everything that earlier imports wrote; see ``import_tables``.

        An invalid item or event is a ``DataError``, with which nothing changes.
        """
        return self.import_tables(
            lambda: tabulate_items(require_valid(items, item_problem, "an item")),
            lambda: tabulate_events(require_valid(events, event_problem, "an event")),
        )

    def import_tables(
        self,
        read_items: Callable[[], pa.Table],
        read_events: Callable[[], pa.Table],
        read_users: Callable[[], Sequence[User]] = tuple,
    ) -> ImportCounts:
        """Replace everything that earlier imports wrote, in one transaction.

        The tables are read before it begins, one after the other, so other writers do not wait for
        them. Events, items and deletions of the API stay unchanged. An item of an earlier import
        that is not read again is deleted.

        Args:
            read_items: reads valid items, see ``item_rows``; of a repeated id the last row counts.
            read_events: reads valid events, see ``events.event_table``.
            read_users: reads valid users; of a repeated id the last one counts.

        Raises:
            DataError: a row is invalid; nothing changes.
            StorageError: the database or the log cannot be written to; nothing changes.
        """
        items, repeated = last_of_each(read_items())
        examples = list(dict.fromkeys(repeated))[:10]
        note = json.dumps({"duplicate_items": len(repeated), "examples": examples})
        users, events = read_users(), read_events()

        def bring(connection: Connection) -> tuple[int, int]:
            left_out = self._replace_imported_items(connection, ids, changed)
            erasures = read_erasures(connection)
            left = [user for user in users if erasures.find(user.user_id) is None]
            set_meta(connection, IMPORT_KEY, note)
            return self.users.replace_imported(connection, left), left_out

        with self._writer.exclusive(self.database.busy_timeout_s):
            ids, changed = set(items["item_id"].to_pylist()), self._changed_items(items)
            (num_users, left_out), stored, erased = self._writer.replace_imported(events, bring)
        return ImportCounts(len(items), stored, num_users, erased, left_out)

    def _changed_items(self, items: pa.Table) -> list[dict[str, Any]]:
        stored = _ITEMS_IN_ORDER.where(ITEMS.c.origin == FROM_FILE)
        with self.database.read() as connection:
            known = {row[0]: tuple(row) for row in connection.execute(stored).yield_per(FETCHED)}
        columns = [items[name].to_pylist() for name in ITEM_NAMES]
        changed = (row for row in zip(*columns, strict=True) if known.get(row[0]) != row)
        common = {"deleted": False, "origin": FROM_FILE}
        return [dict(zip(ITEM_NAMES, row, strict=True), **common) for row in changed]

    def _replace_imported_items(
        self, connection: Connection, ids: set[str], changed: Sequence[dict[str, Any]]
    ) -> int:
        insert, version = upsert_items(connection.dialect.name, FROM_FILE), _max_version(connection)
        for number, row in enumerate(changed, version + 1):
            row.update(number=number, version=number)
        for begin in range(0, len(changed), _CHUNK):
            insert_rows(connection, insert, changed[begin : begin + _CHUNK])
        left = set(connection.scalars(FROM_FILES)) - ids
        return _delete(connection, sorted(left), FROM_FILE)

    def pack(self) -> int:
        """Pack the events that the API appended; returns their number.

        Raises:
            StorageError: another process packs, or the database cannot be written to.
        """
        return self._writer.pack()

    def erase_user(self, user_id: str, moment: float | None = None) -> tuple[UserErasure, int]:
        """Remove a user: all events, and their attributes. Every reader obeys from now on.

        What happened until now is never stored again, by an import or the API, nor is what was
        erased of clocks that are ahead. The bytes are gone after ``remove_erased``.

        Returns:
            the erasure, and the number of events removed. Each call is an erasure of its own, also
            of a user who has nothing stored; ``erasure`` reads the last one.

        Raises:
            DataError: the id is not valid.
            StorageError: the database cannot be written to; nothing is erased.
        """
        if problem := id_problem(user_id):
            raise DataError(f"user id {user_id[:40]!r} cannot be erased: it {problem}.")
        at = time.time() if moment is None else moment
        return self._writer.erase_user(user_id, at)

    def erase_all(self, erasures: Erasures) -> int:
        """Erase again whoever was erased from another copy of this database, which is newer.

        Returns:
            number of users who had something here.

        Raises:
            DataError: the other database is no copy of this one; nothing is erased.
        """
        if not erasures.by_digest:
            return 0
        with self.database.write() as connection:
            new = adopt_erasures(connection, erasures)
        wanted = Erasures(erasures.secret, {one.digest: one for one in new})
        user_ids = {user.user_id for user in self.users.all()}
        user_ids.update(user_id for user_id, _ in self.log.active_users(MOST))
        found = {user_id: one for user_id in user_ids if (one := wanted.find(user_id))}
        for user_id, erasure in found.items():
            self._writer.erase_user(user_id, erasure.moment, erasure.until)
        done = {one.digest for one in found.values()}
        removals = self.log.position().removals
        with self.database.write() as connection:
            rest = [replace(one, removals=removals) for one in new if one.digest not in done]
            put_erasures(connection, rest)
        return len(found)

    def erased_items(self) -> list[str]:
        """Ids of the items that were erased."""
        with self.database.read() as connection:
            return list(connection.scalars(BLANK_ITEMS))

    def items_deleted_by_api(self) -> frozenset[str]:
        """Ids of the items that somebody deleted or erased, and no import left out."""
        with self.database.read() as connection:
            deleted = _ITEM_IDS.where(ITEMS.c.deleted, ITEMS.c.origin == FROM_API)
            return frozenset(connection.scalars(deleted))

    def erasure(self, user_id: str) -> UserErasure | None:
        """The last erasure of a user; None if they never were erased."""
        with self.database.read() as connection:
            return read_erasures(connection, [user_id]).find(user_id)

    def last_erasure(self, within: Connection | None = None) -> int:
        """Number of removals with which the last user was erased; 0 = none was."""
        with self.database.read(within) as connection:
            return connection.scalar(select(func.max(ERASED_USERS.c.removals))) or 0

    def erasures(self) -> Erasures:
        """All erasures of users."""
        with self.database.read() as connection:
            return read_erasures(connection)

    def remove_erased(self) -> None:
        """Remove the bytes of erased users and items from the database.

        An interrupted call is continued by the next one.

        Raises:
            StorageError: another process packs events, or the disk is full.
        """
        note = self.meta(ERASED_BYTES_KEY)
        self._writer.repack()
        if note and self.database.scrub():
            with self.database.write() as connection:
                if read_meta(connection, ERASED_BYTES_KEY) == note:  # nobody was erased meanwhile
                    set_meta(connection, ERASED_BYTES_KEY, "")

    def has_remains(self) -> bool:
        """Whether the database may still have bytes of erased rows."""
        return bool(self.meta(ERASED_BYTES_KEY))

    def items(self, within: Connection | None = None) -> list[Item]:
        """All items that are not deleted, in order of first insertion; see ``LogReader``."""
        with self.database.read(within) as connection:
            return items_of(connection.execute(_ITEMS_IN_ORDER).yield_per(FETCHED))

    def item(self, item_id: str) -> Item | None:
        """One item; None if it is unknown or deleted."""
        if id_problem(item_id):
            return None
        with self.database.read() as connection:
            items = items_of(connection.execute(_ITEMS_IN_ORDER.where(ITEMS.c.item_id == item_id)))
        return items[0] if items else None

    def item_changes(self, after: int, with_imports: bool = True) -> ItemChanges:
        """Items added, changed or deleted since a version, new ones in order of first insertion.

        Readers that number unknown items in this order agree on the numbers, however often each of
        them reads.

        ``with_imports`` adds what an import changed.
        """
        with self.database.read() as connection:
            origins = [FROM_API, FROM_FILE] if with_imports else [FROM_API]
            values = {"after": after, "origins": origins}
            version = _max_version(connection)
            changed = version > after
            rows = connection.execute(_ITEM_CHANGES, values).all() if changed else []
        items = items_of(row[:-1] for row in rows)
        return ItemChanges(after, version, items, frozenset(row[0] for row in rows if row[-1]))

    def posted_after(self, version: int, most: int) -> list[tuple[Item, int]]:
        """Items that the API wrote since a version and did not delete, with their versions.

        Those changed first, ``most`` at most.
        """
        is_posted = ITEMS.c.version > version, ITEMS.c.origin == FROM_API, not_(ITEMS.c.deleted)
        posted = select(*_ITEM, ITEMS.c.version).where(*is_posted).order_by(ITEMS.c.version)
        with self.database.read() as connection:
            rows = connection.execute(posted.limit(most)).all()
        items = items_of(row[:-1] for row in rows)
        return [(item, int(row[-1])) for item, row in zip(items, rows, strict=True)]

    def touch_items(self, versions: Mapping[str, int]) -> dict[str, int]:
        """Give items a new version, so that engines read them again.

        Args:
            versions: item_id -> version; an item that has another one by now is left as it is.

        Returns:
            item_id -> new version, of the others.
        """
        touched = {}
        with self.database.write() as connection:
            version = _max_version(connection)
            for item_id, seen in versions.items():
                same = ITEMS.update().where(ITEMS.c.item_id == item_id, ITEMS.c.version == seen)
                if connection.execute(same.values(version=version + 1)).rowcount:
                    version += 1
                    touched[item_id] = version
        return touched

    def tables(self) -> StoreTables:
        """A consistent snapshot of everything, for exports."""
        with self.database.read() as connection:
            items, users = self.items(connection), self.users.all(connection)
            return StoreTables(items, users, self.log.table(connection))

    def columns(self) -> tuple[pa.Table, pa.Table]:
        """A consistent snapshot of all items and events as columns, for checks.

        Returns:
            ``item_id``, ``title`` and ``available_from`` of the items; and the whole log, in no
            order.
        """
        statement = _ITEMS_IN_ORDER.with_only_columns(*(ITEMS.c[name] for name in _CHECKED))
        with self.database.read() as connection:
            items = tabulate(connection.execute(statement).yield_per(FETCHED), _CHECKED)
            return items, self.log.rows(connection)

    def meta(self, key: str) -> str:
        """The value stored under a key; empty = there is none."""
        with self.database.read() as connection:
            return read_meta(connection, key)

    def set_meta(self, key: str, value: str) -> None:
        """Store a value under a key of at most 64 characters."""
        with self.database.write() as connection:
            set_meta(connection, key, value)

    def count_item_changes(self, after: int) -> ItemCounts:
        """Count the items added, changed and deleted since a version."""
        with self.database.read() as connection:
            is_known = ITEMS.c.number <= after
            kinds = (
                ~is_known & ~ITEMS.c.deleted,
                is_known & ~ITEMS.c.deleted,
                is_known & ITEMS.c.deleted,
            )
            counts = select(*(func.count(case((kind, 1))) for kind in kinds))
            row = connection.execute(counts.where(ITEMS.c.version > after)).one()
        return ItemCounts(row[0], row[1], row[2])

    def max_version(self) -> int:
        """Version of the last change to any item, 0 at first; it only grows."""
        with self.database.read() as connection:
            return _max_version(connection)

    def count_items(self) -> int:
        """Number of items that are not deleted."""
        counted = select(func.count()).select_from(ITEMS).where(not_(ITEMS.c.deleted))
        with self.database.read() as connection:
            return int(connection.scalar(counted) or 0)

    def imported_item_ids(self) -> frozenset[str]:
        """Ids of the items of the last import that are not deleted."""
        with self.database.read() as connection:
            return frozenset(connection.scalars(FROM_FILES))


_ITEM_IDS = select(ITEMS.c.item_id)
_ITEM = tuple(ITEMS.c[name] for name in ITEM_NAMES)
_ITEMS_IN_ORDER = select(*_ITEM).where(not_(ITEMS.c.deleted)).order_by(ITEMS.c.number)
_CHECKED = {"item_id": "string", "title": "string", "available_from": "float64"}
_ITEM_CHANGES = (
    select(*_ITEM, ITEMS.c.deleted)
    .where(
        ITEMS.c.version > bindparam("after"),
        ITEMS.c.origin.in_(bindparam("origins", expanding=True)),
        or_(not_(ITEMS.c.deleted), ITEMS.c.origin == FROM_API),
    )
    .order_by(case((ITEMS.c.number > bindparam("after"), ITEMS.c.number), else_=ITEMS.c.version))
)
"""Changed items, those that somebody deleted included: new ones in the order of their first
insertion. What an import left out stays in the generation in force, as its file may be cut."""
_MAX_VERSION = select(func.max(ITEMS.c.version))
_TOMBSTONE = (
    ITEMS.update()
    .where(ITEMS.c.item_id == bindparam("id"), not_(ITEMS.c.deleted))
    .values(deleted=True, version=bindparam("new_version"), origin=bindparam("writer"))
)


def _max_version(connection: Connection) -> int:
    return int(connection.scalar(_MAX_VERSION) or 0)


def _delete(connection: Connection, item_ids: Sequence[str], writer: str) -> int:
    version = _max_version(connection)
    rows = [
        {"id": item_id, "new_version": version + step, "writer": writer}
        for step, item_id in enumerate(item_ids, 1)
    ]
    return connection.execute(_TOMBSTONE, rows).rowcount if rows else 0
