"""The store of items and events: the only source of truth of a workspace.

It does not interpret its rows: a snapshot decides which events count. Each write takes effect in
one transaction, but for packing, which goes on where it was, and is durable when it returns; reads
never wait for a writer. Many threads may share a store, many processes a file.

Items and the newest events of the API are rows, all other events are packed (``event_log``).
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, bindparam, case, func, inspect, not_, or_, select

from serendip.data.events.event import MERGED, Event
from serendip.data.events.event_table import tabulate_events
from serendip.data.items.catalogue import Item
from serendip.data.limits import MAX_ID_BYTES
from serendip.data.rows.arrow import tabulate
from serendip.data.store.base import PATIENT_S, Database
from serendip.data.store.config import DatabasePlace
from serendip.data.store.database import create_database, existing_database, open_database
from serendip.data.store.event_log.pack_writer import PackWriter
from serendip.data.store.event_log.reader import FETCHED, MOST, REMOVALS_KEY, LogReader
from serendip.data.store.item_rows import ITEM_NAMES, items_of, last_of_each, tabulate_items
from serendip.data.store.schema import (
    BLANK_ITEMS,
    ERASED_USERS,
    EVENTS,
    FROM_API,
    FROM_FILE,
    GENERATED,
    IMPORTED_ITEM_IDS,
    ITEMS,
    PACK_ROWS,
    PACKS,
    RULES,
    Insert,
    count_meta,
    event_row,
    insert_events,
    insert_rows,
    item_row,
    read_meta,
    set_meta,
    upsert_items,
)
from serendip.data.store.tables.erasures import (
    Copies,
    Erasures,
    UserErasure,
    adopt_erasures,
    put_erasures,
    read_erasures,
    record_erasure,
)
from serendip.data.store.tables.generated import GeneratedTable
from serendip.data.store.tables.rules import RuleTable
from serendip.data.store.tables.users import Users
from serendip.data.store.validation import event_problem, id_problem, item_problem, require_valid
from serendip.data.users.user import User
from serendip.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

IMPORT_KEY, ITEM_ERASURE_KEY = "import", "item erasure"
ERASED_BYTES_KEY = "deleted rows"  # of the meta table: empty without bytes of erased rows
_CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """Counts of an import."""

    items: int
    events: int  # stored, without those whose event_id was stored already
    users: int
    erased_events: int  # left out, as their users were erased after them
    deleted_items: int  # of earlier imports, which were not read again


@dataclass(frozen=True, slots=True, eq=False)
class StoreTables:
    """Everything in a store, at one moment; events in order of arrival (``events.event_table``)."""

    items: Sequence[Item]
    users: Sequence[User]
    events: pa.Table


@dataclass(frozen=True, slots=True, eq=False)
class ItemChanges:
    """What happened to the items of a store after a version, up to another one."""

    after: int
    version: int
    items: Sequence[Item]  # that changed, those that are deleted now included
    deleted: frozenset[str] = frozenset()  # ids of those
    rules: int = 0  # version of the rules; 0 = not read


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """Numbers of items since a version: added, and known before and changed or deleted."""

    new: int = 0
    changed: int = 0
    deleted: int = 0

    @property
    def total(self) -> int:
        """Number of items to which anything happened."""
        return self.new + self.changed + self.deleted


class Store(AbstractContextManager["Store"]):
    """Items and events in one database; a ``with`` block closes it.

    Every method raises ``StorageError`` if the database cannot be read or written; a write has
    changed nothing then.
    """

    def __init__(self, database: Database) -> None:
        self.database, self.log = database, LogReader(database)
        self.users = Users(database)
        self._writer = PackWriter(self.log)
        self.backups = Copies(database, "backup")
        self.exports = Copies(database, "export")
        self.generated, self.rules = GeneratedTable(database), RuleTable(database)
        self._upsert_items = upsert_items(database.dialect, FROM_API)
        self._insert_events = insert_events(database.dialect)

    @staticmethod
    def exists(place: DatabasePlace) -> bool:
        """Whether there is a database, with or without rows."""
        if "://" not in str(place):
            return Path(place).exists()
        with closing(open_database(place)) as database, database.read() as connection:
            return bool(inspect(connection).get_table_names())

    @classmethod
    def create(cls, place: DatabasePlace) -> Self:
        """Open a database, creating file and tables where they are missing."""
        return cls(create_database(place))

    @classmethod
    def open(cls, place: DatabasePlace, busy_timeout_s: float = PATIENT_S) -> Self:
        """Open an existing database; writes nothing, so a full or read-only disk is enough."""
        return cls(existing_database(place, busy_timeout_s))

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def put_items(self, items: Iterable[Item]) -> ItemChanges:
        """Add or replace items; restores deleted ones. The last of equal ids counts.

        If one is invalid, a ``DataError``, none is stored.
        """
        unique = {item.item_id: item for item in require_valid(items, item_problem, "an item")}
        rows = [item_row(item, FROM_API) for item in unique.values()]
        with self.database.write() as connection:
            version = _max_version(connection)
            _upsert(connection, self._upsert_items, rows, version)
        stored = items_of([row[name] for name in ITEM_NAMES] for row in rows)
        return ItemChanges(version, version + len(rows), stored)

    def change_item(self, item_id: str, change: Callable[[Item], Item]) -> ItemChanges:
        """Replace an item by what ``change`` makes of it, as ``put_items`` does; none if unknown.

        Nothing is written to it in between.
        """
        if id_problem(item_id):
            return ItemChanges(0, 0, [])
        with self.database.write() as connection:
            found = items_of(connection.execute(_ITEMS_IN_ORDER.where(ITEMS.c.item_id == item_id)))
            changed = [*require_valid(map(change, found), item_problem, "an item")]
            if changed == found:  # an import goes on with the item of a file
                version = _max_version(connection)
                return ItemChanges(version, version, found)
            rows, version = [item_row(item, FROM_API) for item in changed], _max_version(connection)
            _upsert(connection, self._upsert_items, rows, version)
        stored = items_of([row[name] for name in ITEM_NAMES] for row in rows)
        return ItemChanges(version, version + len(rows), stored)

    def items_after(self, item_id: str, limit: int) -> list[Item]:
        """Items that are not deleted whose ids come after one, in the order of ids."""
        following = _ITEMS_IN_ORDER.where(ITEMS.c.item_id > item_id).order_by(None)
        return items_of(self.database.rows(following.order_by(ITEMS.c.item_id).limit(limit)))

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
        ``remove_erased``. Returns whether the database had the item, deleted or not.
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
            connection.execute(GENERATED.delete().where(GENERATED.c.item_id == item_id))
            _note_remains(connection)
            set_meta(connection, ITEM_ERASURE_KEY, str(version))
        return is_known

    def last_item_erasure(self) -> int:
        """Version of the items at which the last one was erased; 0 = none was."""
        return int(self.meta(ITEM_ERASURE_KEY) or 0)

    def put_events(self, events: Iterable[Event]) -> int:
        """Append events; returns their number. If one is invalid, a ``DataError``, none is stored.

        One whose ``event_id`` is stored is skipped, and one from before its user was erased.
        """
        (stored,) = self.put_event_groups([events])
        if isinstance(stored, DataError):
            raise stored
        return stored

    def merge_user(self, visitor_id: str, user_id: str) -> int:
        """Store what a visitor did, and what is known of them, for a user, too.

        Done again, it stores what is new. Returns the number of stored events.
        """
        if visitor_id == user_id:
            raise DataError(f"{user_id[:80]!r} cannot be merged into itself.", "Name two ids.")
        copies, counts = [], Counter[str]()
        for event in self.log.history(visitor_id, MOST):
            if event.request_id.startswith(MERGED):
                continue
            told = repr(
                (visitor_id, user_id, event.timestamp, event.item_id, event.action, event.query)
            )
            counts[told] += 1  # an event without an id may be there twice
            event_id = hashlib.sha256(f"{told} {counts[told]}".encode()).hexdigest()
            request_id = f"{MERGED}{event.request_id}"[:MAX_ID_BYTES]
            copy = replace(event, user_id=user_id, event_id=event_id, request_id=request_id)
            copies.append(copy)
        if visitor := self.users.get(visitor_id):
            known = visitor.attributes
            self.users.change(user_id, lambda user: User(user_id, {**known, **user.attributes}))
        return self.put_events(copies)

    def put_event_groups(self, groups: Iterable[Iterable[Event]]) -> list[int | DataError]:
        """Append groups of events in one transaction (group commit), each as by ``put_events``.

        The groups are drawn one by one inside the transaction: a post that arrives while it is open
        can still join it. Returns the number of new events of each group; the error where one of
        its events is invalid.
        """
        stored: list[int | DataError] = []
        with self.database.write() as connection:
            packs = self.log.packs(connection)
            for events in groups:
                try:
                    rows = [*map(event_row, require_valid(events, event_problem, "an event"))]
                except DataError as error:
                    stored.append(error)
                    continue
                erasures = read_erasures(connection, {row["user_id"] for row in rows})
                event_ids = [row["event_id"] or "" for row in rows]
                is_packed = self.log.is_packed(event_ids, packs, connection).tolist()
                new = [
                    row
                    for row, is_known in zip(rows, is_packed, strict=True)
                    if not is_known and not erasures.is_late(row["user_id"], row["timestamp"])
                ]
                stored.append(insert_rows(connection, self._insert_events, new))
        return stored

    def import_all(self, items: Iterable[Item], events: Iterable[Event]) -> ImportCounts:
        """Replace everything that earlier imports wrote; see ``import_tables``."""
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
        that is not read again is deleted; of a repeated id the last row counts. See ``item_rows``
        and ``events.event_table``. An invalid row is a ``DataError``: nothing changes.
        """
        items, repeated = last_of_each(read_items())
        examples = list(dict.fromkeys(repeated))[:10]
        note = json.dumps({"duplicate_items": len(repeated), "examples": examples})
        users, events = read_users(), read_events()

        def bring(connection: Connection) -> tuple[int, int]:
            insert = upsert_items(self.database.dialect, FROM_FILE)
            _upsert(connection, insert, changed, _max_version(connection))
            left = set(connection.scalars(IMPORTED_ITEM_IDS)) - ids
            left_out = _delete(connection, sorted(left), FROM_FILE)
            erasures = read_erasures(connection)
            kept = [user for user in users if erasures.find(user.user_id) is None]
            set_meta(connection, IMPORT_KEY, note)
            return self.users.replace_imported(connection, kept), left_out

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

    def pack(self) -> int:
        """Pack the events that the API appended; their number. One process at a time can."""
        return self._writer.pack()

    def erase_user(
        self, user_id: str, moment: float | None = None, until: float = -math.inf
    ) -> tuple[UserErasure, int]:
        """Remove a user: all events, and their attributes. Every reader obeys from now on.

        What happened until now is never stored again, by an import or the API, nor is what was
        erased of clocks that are ahead, nor anything with a time ``until`` then. The bytes are gone
        after ``remove_erased``. Each call is an erasure of its own, also of a user who has nothing
        stored. Returns the erasure, and the number of events removed.
        """
        if problem := id_problem(user_id):
            raise DataError(f"user id {user_id[:40]!r} cannot be erased: it {problem}.")
        moment = time.time() if moment is None else moment
        in_tail = EVENTS.c.user_id == user_id
        # Of packs that count; what is being written is written again before it counts.
        in_packs = PACK_ROWS.c.user_id == user_id, PACK_ROWS.c.pack.in_(select(PACKS.c.pack))
        facts = select(PACK_ROWS.c.pack, PACK_ROWS.c.events, PACK_ROWS.c.newest).where(*in_packs)
        with self.database.write() as connection:
            packed = connection.execute(facts).all()
            newest = connection.scalar(select(func.max(EVENTS.c.timestamp)).where(in_tail))
            removed = connection.execute(EVENTS.delete().where(in_tail)).rowcount
            connection.execute(PACK_ROWS.delete().where(*in_packs))
            for pack, events, _ in packed:
                left = {"events": PACKS.c.events - events, "stale": True}
                connection.execute(PACKS.update().where(PACKS.c.pack == pack).values(left))
                removed += events
            if self.users.erase(connection, user_id) or removed:
                count_meta(connection, REMOVALS_KEY)
            # Whatever is found: rows that were packed or replaced before leave bytes, too.
            _note_remains(connection)
            earlier = read_erasures(connection, [user_id]).find(user_id)
            ends = [moment, until, newest or moment, *(row.newest for row in packed)]
            if earlier is not None:
                moment, ends = max(moment, earlier.moment), [*ends, earlier.until]
            removals = self.log.position(connection).removals
            erasure = record_erasure(connection, user_id, moment, removals, max(ends))
        return erasure, int(removed)

    def erase_all(self, erasures: Erasures) -> int:
        """Erase again whoever was erased from a newer copy; how many had something here."""
        if not erasures.by_digest:
            return 0
        with self.database.write() as connection:
            new = {one.digest: one for one in adopt_erasures(connection, erasures)}
        wanted = Erasures(erasures.secret, new)
        user_ids = {user.user_id for user in self.users.all()}
        user_ids.update(user_id for user_id, _ in self.log.active_users(MOST))
        found = {user_id: one for user_id in user_ids if (one := wanted.find(user_id))}
        for user_id, erasure in found.items():
            self.erase_user(user_id, erasure.moment, erasure.until)
            del new[erasure.digest]
        removals = self.log.position().removals
        with self.database.write() as connection:
            put_erasures(connection, [replace(one, removals=removals) for one in new.values()])
        return len(found)

    def erased_items(self) -> list[str]:
        """Ids of the items that were erased."""
        return [row[0] for row in self.database.rows(BLANK_ITEMS)]

    def items_deleted_by_api(self) -> frozenset[str]:
        """Ids of the items that somebody deleted or erased, and no import left out."""
        deleted = select(ITEMS.c.item_id).where(ITEMS.c.deleted, ITEMS.c.origin == FROM_API)
        return frozenset(row[0] for row in self.database.rows(deleted))

    def imported_item_ids(self) -> frozenset[str]:
        """Ids of the items of the last import that are not deleted."""
        return frozenset(row[0] for row in self.database.rows(IMPORTED_ITEM_IDS))

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
        """Remove the bytes of erased users and items; an interrupted call is continued by the next.

        Nobody else may be packing events.
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
        rows = self.database.rows(_ITEMS_IN_ORDER.where(ITEMS.c.item_id == item_id))
        return next(iter(items_of(rows)), None)

    def item_changes(self, after: int, with_imports: bool = True) -> ItemChanges:
        """Items added, changed or deleted since a version, new ones in order of first insertion.

        Readers that number unknown items in this order agree on the numbers, however often each of
        them reads. ``with_imports`` adds what an import changed.
        """
        values = {"after": after, "origins": [FROM_API, *([FROM_FILE] if with_imports else [])]}
        with self.database.read() as connection:
            version, rules = (number or 0 for number in connection.execute(_VERSIONS).one())
            rows = connection.execute(_ITEM_CHANGES, values).all() if version > after else []
        items = items_of(row[:-1] for row in rows)
        deleted = frozenset(row[0] for row in rows if row[-1])
        return ItemChanges(after, version, items, deleted, rules)

    def touch_items(self, item_ids: Iterable[str], until: int) -> int:
        """Give items a new version, so that engines read them again; not those of later ones.

        Returns the version up to which nobody else has changed any, ``until`` or the new ones.
        """
        with self.database.write() as connection:
            version = newest = _max_version(connection)
            for item_id in item_ids:
                same = ITEMS.update().where(ITEMS.c.item_id == item_id, ITEMS.c.version <= until)
                version += connection.execute(same.values(version=version + 1)).rowcount
        return version if newest == until else until

    def tables(self) -> StoreTables:
        """A consistent snapshot of everything, for exports."""
        with self.database.read() as connection:
            items, users = self.items(connection), self.users.all(connection)
            return StoreTables(items, users, self.log.table(connection))

    def columns(self) -> tuple[pa.Table, pa.Table]:
        """Ids, titles and times of all items, and the whole log in no order, for checks."""
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
        is_old, is_gone = ITEMS.c.number <= after, ITEMS.c.deleted
        kinds = ~is_old & ~is_gone, is_old & ~is_gone, is_old & is_gone
        counts = select(*(func.count(case((kind, 1))) for kind in kinds))
        ((*numbers,),) = self.database.rows(counts.where(ITEMS.c.version > after))
        return ItemCounts(*numbers)

    def max_version(self) -> int:
        """Version of the last change to any item, 0 at first; it only grows."""
        with self.database.read() as connection:
            return _max_version(connection)

    def count_items(self) -> int:
        """Number of items that are not deleted."""
        counted = select(func.count()).select_from(ITEMS).where(not_(ITEMS.c.deleted))
        return int(self.database.rows(counted)[0][0])


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
_VERSIONS = select(
    _MAX_VERSION.scalar_subquery(), select(func.max(RULES.c.version)).scalar_subquery()
)
_TOMBSTONE = (
    ITEMS.update()
    .where(ITEMS.c.item_id == bindparam("id"), not_(ITEMS.c.deleted))
    .values(deleted=True, version=bindparam("new_version"), origin=bindparam("writer"))
)


def _max_version(connection: Connection) -> int:
    return int(connection.scalar(_MAX_VERSION) or 0)


def _upsert(
    connection: Connection, insert: Insert, rows: Sequence[dict[str, Any]], version: int
) -> None:
    for number, row in enumerate(rows, version + 1):
        row.update(number=number, version=number)
    for begin in range(0, len(rows), _CHUNK):
        insert_rows(connection, insert, rows[begin : begin + _CHUNK])


def _note_remains(connection: Connection) -> None:
    # Each note is another one: whoever removes bytes takes back none that was made meanwhile.
    set_meta(connection, ERASED_BYTES_KEY, secrets.token_hex(8))


def _delete(connection: Connection, item_ids: Sequence[str], writer: str) -> int:
    version = _max_version(connection)
    rows = [
        {"id": item_id, "new_version": version + step, "writer": writer}
        for step, item_id in enumerate(item_ids, 1)
    ]
    return connection.execute(_TOMBSTONE, rows).rowcount if rows else 0
