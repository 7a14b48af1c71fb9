"""Writes packs: an import's events, those that a training finds in the tail, an erasure.

The rows of a pack are written beside those that count, in short transactions, and become visible
by its row in the table ``packs``: after a crash at any moment the log is the old one or the new
one. One process at a time writes packs; events of the API are appended and users erased meanwhile.

An erasure is one short transaction that deletes rows. What the packs share may still name what the
user alone had, such as an item, until they are packed again (``repack``).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray
from serendip.data.log.event_table import (
    fill_missing,
    is_first,
    read_codes,
    without_empty_columns,
)
from serendip.data.store.event_log.packs import PackedEvents, PackFacts, encode_names, hash_ids
from serendip.data.store.event_log.view import (
    EVENT_IDS,
    IMPORTS_KEY,
    REMOVALS_KEY,
    LogPosition,
    LogView,
    StoredLog,
)
from serendip.data.store.tables.erased_users import ErasedUsers, Erasures, UserErasure
from serendip.data.store.upsert import insert_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Connection

    from serendip.data.store.tables.users import Users

REMAINS_KEY = "deleted rows"
"""Key of the meta table whose value is not empty while the database may have bytes of erased rows.
"""

_MERGE_FACTOR = 4
"""Packing merges a pack that has at most this many times the events that it writes anyway: the
number of packs then grows with the logarithm of the number of events."""

_MOST_MOVED = 20_000
"""Events of the tail that one transaction moves, so that other writers wait for half a second."""

_AT_ONCE = 5_000
"""Rows of a pack in one transaction, so that other writers never wait for long."""


@dataclass(frozen=True, slots=True)
class NewPack:
    """A pack whose rows are written and that nobody sees yet.

    Args:
        number: of the pack.
        fields: of its array.
        size: number of events.
        last: arrival of the last one, from 0.
    """

    number: int
    fields: str
    size: int
    last: int


@dataclass(frozen=True, slots=True)
class Import:
    """The events of an import, written as a pack that nobody sees yet.

    Args:
        events: all that the files have, in order; None = none of them has an ``event_id``.
        pack: None = no event is new.
        position: of the log when the events were compared with it.
        num_events: number of events in the pack.
        num_erased: number of events that are left out, as their users were erased after them.
        erasures: that these are.
    """

    events: pa.Table | None
    pack: NewPack | None
    position: LogPosition
    num_events: int
    num_erased: int
    erasures: Erasures


class LogWriter:
    """Writes the packs of one database.

    Args:
        log: that is written.
        users: of the database; an erasure removes what they have of the user.
    """

    def __init__(self, log: StoredLog, users: Users) -> None:
        from serendip.data.store import schema

        self._log, self._database, self._sql = log, log.database, schema
        self._users, self._erased = users, ErasedUsers(log.database)
        self._set_meta = schema.upsert_meta(log.database.dialect)
        self._require_lock: Callable[[], None] = lambda: None

    @contextmanager
    def exclusive(self, wait_s: float = 0.0) -> Iterator[None]:
        """Be the only writer of packs; removes rows that nobody sees, before and after.

        Args:
            wait_s: how long to wait for another one.

        Raises:
            LockedError: another process is writing packs.
        """
        with self._database.exclusive("packs", wait_s) as self._require_lock:
            self._remove_invisible()
            yield
            self._remove_invisible()

    def prepare(self, events: pa.Table) -> Import:
        """Write the events of files as a pack, without those that the API or a file repeats.

        Within ``exclusive``. An event repeats another one if both have the same ``event_id``. Those
        of users who were erased after them are left out, too.
        """

        def read(view: LogView) -> tuple[LogPosition, NDArray[np.uint64], Erasures]:
            return view.position(), view.api_event_ids(), self._erased.all(view.connection)

        self._repack_all()  # ids of events of erased users are free again
        position, known, erasures = self._log.read(read)
        is_late = erasures.late_rows(events)
        is_new = _is_new(events, known, is_late)
        new = events if is_new.all() else events.filter(_as_mask(is_new))
        pack = self._write(new, np.arange(len(new))) if len(new) else None
        has_ids = "event_id" in without_empty_columns(events).column_names
        kept = events if has_ids else None
        return Import(kept, pack, position, len(new), int(is_late.sum()), erasures)

    def is_outdated(self, connection: Connection, prepared: Import) -> bool:
        """Whether an event of an import was posted since it was prepared: the post came first."""
        if prepared.events is None:
            return False
        after = {"after": prepared.position.seq}
        appended = connection.scalars(self._sql.TAIL_IDS_AFTER, after).all()
        return bool(appended) and _has_any(prepared.events, appended)

    def publish(self, connection: Connection, prepared: Import) -> Import:
        """Replace the events of earlier imports, within a write transaction.

        Returns:
            the import as it is in the log now.
        """
        connection.execute(self._sql.DROP_FILE_PACKS)
        self._count(connection, REMOVALS_KEY)
        self._count(connection, IMPORTS_KEY)
        if prepared.pack is None:
            return prepared
        first = self._last_number(connection) + 1
        self._add(connection, prepared.pack, "file", first)
        last = first + prepared.pack.last
        self._database.set_last_number(connection, "events", "seq", last)
        return self._leave_out(connection, prepared, prepared.pack.number)

    def _leave_out(self, connection: Connection, prepared: Import, pack: int) -> Import:
        """Leave out of an import what happened before erasures since it was prepared."""
        new = self._erased.all(connection).since(prepared.erasures)
        if not new.by_digest:
            return prepared
        self._drop(connection, pack, new, lambda erasure: erasure.until)
        left = int(connection.scalar(self._sql.COUNT_PACK, {"number": pack}) or 0)
        lost = prepared.num_events - left
        return replace(prepared, num_events=left, num_erased=prepared.num_erased + lost)

    def _drop(
        self,
        connection: Connection,
        pack: int,
        erasures: Erasures,
        until: Callable[[UserErasure], float],
    ) -> None:
        """Drop from a new pack what erased users had until some time."""
        view = LogView(connection, self._log)
        for user_id in view.users_of(pack):
            if (erasure := erasures.find(user_id)) is not None:
                events = view.events_of(user_id, pack)
                left = events.select(events.records["timestamp"] > until(erasure))
                connection.execute(self._sql.DROP_ROW, {"number": pack, "user": user_id})
                self._insert(connection, list(left.rows(pack)))
        connection.execute(self._sql.RECOUNT_PACK, {"number": pack})

    def pack(self) -> int:
        """Move the events of the tail into a pack; readers meet each event once.

        Returns:
            number of events moved.
        """
        with self.exclusive(self._database.busy_timeout_s):
            self._repack_all()
            return self._move_tail()

    def _move_tail(self) -> int:
        moved = 0
        while True:
            piece = self._move_piece()
            moved += piece
            if piece < _MOST_MOVED:
                return moved

    def _move_piece(self) -> int:
        """Move the oldest events of the tail; how many."""
        before, tail, packs = self._log.read(
            lambda view: (view.position(), view.tail(_MOST_MOVED), view.packs)
        )
        if not len(tail):
            return 0
        merged = _merged(packs, len(tail))
        older = [self._log.read(partial(LogView.pack_table, facts=one)) for one in merged]
        until = int(np.asarray(tail["seq"]).max())
        table = _join([*(one for one in older if len(one)), tail])
        self._replace(merged, table, "api", before, until)
        return len(tail)

    def erase_user(
        self, user_id: str, moment: float, until: float = -math.inf
    ) -> tuple[UserErasure, int]:
        """Remove a user's events, and their attributes.

        Args:
            user_id: external id.
            moment: Unix seconds; what happened until then is never stored again.
            until: the same for the times of events; at least ``moment`` and the time of every event
                that is removed.

        Returns:
            the erasure, and the number of events removed.
        """
        user = {"user": user_id}
        with self._database.write() as connection:
            view = LogView(connection, self._log)
            places = view.places_of_user(user_id)
            newest = connection.scalar(self._sql.NEWEST_OF_USER, user)
            in_tail = connection.execute(self._sql.ERASE_USER, user).rowcount
            for place in places:
                self._free_ids(view, user_id, place.pack)
            connection.execute(self._sql.DROP_ROWS_OF_USER, user)
            for place in places:
                shrunk = {"number": place.pack, "lost": place.events}
                connection.execute(self._sql.SHRINK_PACK, shrunk)
            had_attributes = self._users.erase(connection, user_id)
            if in_tail or places or had_attributes:
                self._count(connection, REMOVALS_KEY)
            # Whatever is found: rows that were packed or replaced before leave bytes, too.
            connection.execute(self._set_meta, remains_note())
            earlier = self._erased.among(connection, [user_id]).find(user_id)
            ends = [moment, until, newest or moment, *(place.newest for place in places)]
            if earlier is not None:
                moment, ends = max(moment, earlier.moment), [*ends, earlier.until]
            removals = view.position().removals
            erasure = self._erased.record(connection, user_id, moment, removals, max(ends))
        return erasure, int(in_tail) + sum(place.events for place in places)

    def _free_ids(self, view: LogView, user_id: str, pack: int) -> None:
        """Let the ids that a user's events in a pack were sent with be those of other events."""
        texts = view.events_of(user_id, pack).texts["event_id"].to_pylist()
        if given := {one for one in texts if one}:
            left = np.setdiff1d(view.names_of(pack).event_ids, hash_ids(given))
            values = {"number": pack, "column": EVENT_IDS, "size": len(left)}
            view.connection.execute(self._sql.SET_NAMES, {**values, "bytes": left.tobytes()})

    def repack(self) -> int:
        """Pack again what had events of users who were erased since; returns the number of packs.

        Each takes effect by itself: an interrupted call goes on where it was.
        """
        with self.exclusive():
            return self._repack_all()

    def _repack_all(self) -> int:
        before, packs = self._log.read(lambda view: (view.position(), view.packs))
        stale = [one for one in packs if one.is_stale]
        for one in stale:
            table = self._log.read(partial(LogView.pack_table, facts=one))
            self._replace([one], table, one.origin, before)
        return len(stale)

    def _replace(
        self,
        older: Sequence[PackFacts],
        table: pa.Table,
        origin: str,
        before: LogPosition,
        until: int = 0,
    ) -> None:
        """Let a pack count instead of others, and of the tail up to a number.

        Args:
            older: packs that the table has all events of.
            table: with ``seq``, read at a position or later.
            origin: of the new pack.
            before: the position.
            until: number of the last event of the tail in the table; 0 = none is.
        """
        pack, first = None, 0
        if len(table):
            seqs = np.asarray(table["seq"], np.int64)
            first = int(seqs.min())
            pack = self._write(table.drop_columns(["seq"]), seqs - first)
        with self._database.write() as connection:
            for one in older:
                connection.execute(self._sql.DROP_PACK, {"number": one.number})
            connection.execute(self._sql.CUT_TAIL, {"until": until})
            if pack is not None:
                self._add(connection, pack, origin, first)
                self._drop_erased(connection, pack.number, before.removals)
        self._remove_invisible()

    def _drop_erased(self, connection: Connection, pack: int, removals: int) -> None:
        """Drop the users of a new pack who were erased since its events were read."""
        erasures = self._erased.after(connection, removals)
        if not erasures.by_digest:
            return
        self._drop(connection, pack, erasures, lambda erasure: math.inf)

    def _write(self, table: pa.Table, arrivals: NDArray[np.integer[Any]]) -> NewPack:
        """Write the rows of a pack, which nobody sees yet."""
        packed = PackedEvents.of_table(without_empty_columns(table), arrivals)
        number = secrets.randbits(62)
        names = [
            (number, name, len(texts), encode_names(texts)) for name, texts in packed.names.items()
        ]
        if "event_id" in packed.texts:
            given = {one for one in packed.texts["event_id"].to_pylist() if one}
            hashes = np.sort(hash_ids(given))
            names.append((number, EVENT_IDS, len(hashes), hashes.tobytes()))
        with self._database.write() as connection:
            insert_rows(connection, self._sql.PACK_NAMES, self._sql.PACK_NAMES.c.keys(), names)
        rows = packed.rows(number)
        while chunk := list(islice(rows, _AT_ONCE)):
            with self._database.write() as connection:
                self._insert(connection, chunk)
        return NewPack(number, packed.fields, len(packed), int(arrivals.max()))

    def _insert(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            insert_rows(connection, self._sql.PACK_ROWS, self._sql.PACK_ROWS.c.keys(), rows)

    def _add(self, connection: Connection, pack: NewPack, origin: str, first_seq: int) -> None:
        """Let a pack count, within a write transaction."""
        self._require_lock()  # else somebody removes what no row names yet
        facts = {"pack": pack.number, "origin": origin, "events": pack.size, "fields": pack.fields}
        numbers = {"first_seq": first_seq, "last_seq": first_seq + pack.last, "stale": False}
        connection.execute(self._sql.ADD_PACK, {**facts, **numbers})

    def _remove_invisible(self) -> None:
        """Remove the rows of packs that do not count."""
        while True:
            with self._database.read() as connection:
                rows = connection.execute(self._sql.INVISIBLE, {"most": _AT_ONCE}).mappings().all()
            if not rows:
                break
            with self._database.write() as connection:
                connection.execute(self._sql.DROP_ROW, [dict(row) for row in rows])
        with self._database.write() as connection:
            connection.execute(self._sql.DROP_NAMES)

    def _last_number(self, connection: Connection) -> int:
        """The largest sequence number ever given out."""
        position = LogView(connection, self._log).position()
        return max(position.seq, self._database.last_number(connection, "events", "seq"))

    def _count(self, connection: Connection, key: str) -> None:
        number = int(connection.scalar(self._sql.META_VALUE, {"name": key}) or 0) + 1
        connection.execute(self._set_meta, {"key": key, "value": str(number)})


def remains_note() -> dict[str, str]:
    """Row of the meta table that says that bytes are left, as by which an erasure asks for a scrub.

    Each is another one, so that whoever removes them takes back no note that was made meanwhile.
    """
    return {"key": REMAINS_KEY, "value": secrets.token_hex(8)}


def _merged(packs: Sequence[PackFacts], events: int) -> list[PackFacts]:
    """The packs of the API that are merged when so many events are packed, smallest first."""
    merged = []
    for one in sorted(packs, key=lambda one: one.events):
        if one.origin == "api" and one.events <= _MERGE_FACTOR * events:
            merged.append(one)
            events += one.events
    return merged


def _join(tables: Sequence[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return fill_missing(pa.concat_tables(tables, promote_options="default"))


def _is_new(events: pa.Table, known: NDArray[np.uint64], is_late: BoolArray) -> BoolArray:
    """(E,) True for events without an ``event_id``, or with one that nobody had before.

    False for late ones, given as (E,), which have no say about others.
    """
    if "event_id" not in events.column_names:
        return ~is_late
    codes, ids = read_codes(events, "event_id")
    names = ids.to_pylist()
    is_known = np.isin(hash_ids(names), known) if len(known) else np.zeros(len(names), np.bool_)
    is_empty = np.array([not name for name in names], np.bool_)
    rows = np.flatnonzero(~is_late)
    is_new = np.zeros(len(events), np.bool_)
    is_new[rows] = is_empty[codes[rows]] | (is_first(codes[rows]) & ~is_known[codes[rows]])
    return is_new


def _has_any(events: pa.Table, event_ids: Sequence[Any]) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    _, ids = read_codes(events, "event_id")
    return bool(pc.any(pc.is_in(ids, value_set=pa.array(event_ids, "string"))).as_py())


def _as_mask(mask: BoolArray) -> pa.BooleanArray:
    import pyarrow as pa

    return pa.array(mask)
