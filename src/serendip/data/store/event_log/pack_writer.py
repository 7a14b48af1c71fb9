"""Writes packs: an import's events, those that a training finds in the tail, an erasure.

The rows of a pack are written beside those that count, in short transactions, and become visible
by its row in the table ``packs``: after a crash at any moment the log is the old one or the new
one. One process at a time writes packs; events of the API are appended and users erased meanwhile.
A pack whose events were read before somebody was erased never counts: it is written again.

An erasure is one short transaction that deletes rows. What the packs share may still name what the
user alone had, such as an item or the id of an event, until they are packed again (``repack``).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, func, select, tuple_

from serendip.data.arrays import BoolArray
from serendip.data.events.event_table import (
    is_first,
    join_events,
    read_codes,
    without_empty_columns,
)
from serendip.data.store.event_log.packs import PackedEvents, encode_names, hash_ids
from serendip.data.store.event_log.reader import (
    EVENT_IDS,
    REMOVALS_KEY,
    LogPosition,
    LogReader,
)
from serendip.data.store.schema import (
    EVENTS,
    FROM_API,
    FROM_FILE,
    PACK_NAMES,
    PACK_ROWS,
    PACKS,
    count_meta,
    set_meta,
)
from serendip.data.store.tables.erased_users import (
    UserErasure,
    read_erasures,
    record_erasure,
)
from serendip.data.store.upsert import insert_into, insert_rows
from serendip.errors import BusyError

if TYPE_CHECKING:
    import pyarrow as pa

    from serendip.data.store.tables.users import Users

T = TypeVar("T")

ERASED_BYTES_KEY = "deleted rows"  # of the meta table: empty without bytes of erased rows
TRIES = 5  # to write a pack, as users were erased or its events posted meanwhile
# Packing merges a pack that has at most this many times the events that it writes anyway: the
# number of packs then grows with the logarithm of the number of events.
_MERGE_FACTOR = 4
_MOST_MOVED = 20_000  # events of the tail in one transaction: others wait for half a second
_AT_ONCE = 5_000  # rows of a pack in one transaction, so that other writers never wait for long


class PackWriter:
    """Writes the packs of one database."""

    def __init__(self, log: LogReader, users: Users) -> None:
        self._log, self._database, self._users = log, log.database, users
        dialect = log.database.dialect
        self._insert_names = insert_into(dialect, PACK_NAMES, PACK_NAMES.c.keys())
        self._insert_rows = insert_into(dialect, PACK_ROWS, PACK_ROWS.c.keys())
        self._require_lock: Callable[[], None] = lambda: None

    @contextmanager
    def exclusive(self, wait_s: float = 0.0) -> Iterator[None]:
        """Be the only writer of packs; removes rows that nobody sees, before and after.

        Raises:
            LockedError: another process is writing packs.
        """
        with self._database.exclusive("packs", wait_s) as self._require_lock:
            self._remove_invisible()
            yield
            self._remove_invisible()

    def replace_imported(
        self, events: pa.Table, bring: Callable[[Connection], T]
    ) -> tuple[T, int, int]:
        """Replace the events of earlier imports; within ``exclusive``.

        Left out is what repeats an event of the API or of the files, as both have the same
        ``event_id``, and what happened before its user was erased.

        Returns:
            the result of ``bring``, and the numbers of events that are stored, and that are left
            out as their users were erased.
        """
        import pyarrow as pa

        def write() -> tuple[T, int, int] | None:
            self._repack_all()  # ids of events of erased users are free again
            with self._database.read() as connection:
                seq, known = self._log.position(connection).seq, self._log.api_event_ids(connection)
                erasures = read_erasures(connection)
            is_late = erasures.late_rows(events)
            is_new = _is_new(events, known, is_late)
            new = events if is_new.all() else events.filter(pa.array(is_new))
            pack = self._write(new, np.arange(len(new))) if len(new) else None
            with self._database.write(may_pause=True) as connection:
                posted = self._log.tail_ids_after(seq, connection)
                if read_erasures(connection) != erasures or _has_any(events, posted):
                    return None
                connection.execute(PACKS.delete().where(PACKS.c.origin == FROM_FILE))
                count_meta(connection, REMOVALS_KEY)
                if pack is not None:
                    last = self._database.last_number(connection, "events", "seq")
                    first = max(self._log.position(connection).seq, last) + 1
                    last = self._add(connection, pack, FROM_FILE, first)
                    self._database.set_last_number(connection, "events", "seq", last)
                return bring(connection), len(new), int(is_late.sum())

        return self._retry(write)

    def pack(self) -> int:
        """Move the events of the tail into a pack, and count them; readers meet each event once."""
        with self.exclusive(self._database.busy_timeout_s):
            self._repack_all()
            moved = 0
            while True:
                piece = self._retry(self._move_piece)
                moved += piece
                if piece < _MOST_MOVED:
                    return moved

    def _move_piece(self) -> int | None:
        with self._database.read() as connection:  # None = somebody was erased meanwhile
            before = self._log.position(connection)
            tail = self._log.tail(connection, most=_MOST_MOVED)
            merged = _merged(self._log.packs(connection), len(tail))
        if not len(tail):
            return 0
        older = [self._log.pack_table(one) for one in merged]
        until = int(np.asarray(tail["seq"]).max())
        table = join_events([*older, tail])
        return len(tail) if self._replace(merged, table, FROM_API, before, until) else None

    def erase_user(
        self, user_id: str, moment: float, until: float = -math.inf
    ) -> tuple[UserErasure, int]:
        """Remove a user's events, and their attributes.

        What happened until ``moment`` is never stored again, nor are events with times ``until``
        then, which is at least the moment and the time of every event that is removed.

        Returns:
            the erasure, and the number of events removed.
        """
        in_tail = EVENTS.c.user_id == user_id
        # Of packs that count; what is being written is written again before it counts.
        in_packs = PACK_ROWS.c.user_id == user_id, PACK_ROWS.c.pack.in_(select(PACKS.c.pack))
        facts = select(PACK_ROWS.c.pack, PACK_ROWS.c.events, PACK_ROWS.c.newest).where(*in_packs)
        with self._database.write() as connection:
            packed = connection.execute(facts).all()
            newest = connection.scalar(select(func.max(EVENTS.c.timestamp)).where(in_tail))
            removed = connection.execute(EVENTS.delete().where(in_tail)).rowcount
            connection.execute(PACK_ROWS.delete().where(*in_packs))
            for pack, events, _ in packed:
                left = {"events": PACKS.c.events - events, "stale": True}
                connection.execute(PACKS.update().where(PACKS.c.pack == pack).values(left))
                removed += events
            had_attributes = self._users.erase(connection, user_id)
            if removed or had_attributes:
                count_meta(connection, REMOVALS_KEY)
            # Whatever is found: rows that were packed or replaced before leave bytes, too.
            note_remains(connection)
            earlier = read_erasures(connection, [user_id]).find(user_id)
            ends = [moment, until, newest or moment, *(row.newest for row in packed)]
            if earlier is not None:
                moment, ends = max(moment, earlier.moment), [*ends, earlier.until]
            removals = self._log.position(connection).removals
            erasure = record_erasure(connection, user_id, moment, removals, max(ends))
        return erasure, int(removed)

    def repack(self) -> int:
        """Pack again what had events of users who were erased since; returns the number of packs.

        Each takes effect by itself: an interrupted call goes on where it was.
        """
        with self.exclusive():
            return self._repack_all()

    def _repack_all(self) -> int:
        packed = 0
        while self._retry(self._repack_one):
            packed += 1
        return packed

    def _repack_one(self) -> bool | None:
        """Pack a stale pack again; False = there is none, None = somebody was erased meanwhile."""
        with self._database.read() as connection:
            before = self._log.position(connection)
            stale = [one for one in self._log.packs(connection) if one.stale][:1]
        if not stale:
            return False
        table = self._log.pack_table(stale[0])
        return True if self._replace(stale, table, stale[0].origin, before) else None

    def _retry(self, write: Callable[[], T | None]) -> T:
        """What a writer of packs returns, which is None where somebody interfered.

        Raises:
            BusyError: somebody interferes all the time.
        """
        for _ in range(TRIES):
            if (result := write()) is not None:
                return result
        raise BusyError(
            "users are being erased, or events of the files posted, all the time.",
            "Nothing was written, and nothing is lost. Try again when that has ended.",
        )

    def _replace(
        self,
        older: Sequence[Row[Any]],
        table: pa.Table,
        origin: str,
        before: LogPosition,
        until: int = 0,
    ) -> bool:
        """Let a pack count instead of others, and of the tail up to a number.

        Args:
            older: packs that the table has all events of.
            table: with ``seq``, read at the position ``before`` or later.
            origin: of the new pack.
            before: a position of the log.
            until: number of the last event of the tail in the table; 0 = none is.

        Returns:
            False if somebody was erased since the position: then nothing is changed.
        """
        pack, first = None, 0
        if len(table):
            seqs = np.asarray(table["seq"], np.int64)
            first = int(seqs.min())
            pack = self._write(table.drop_columns(["seq"]), seqs - first)
        with self._database.write() as connection:
            is_current = self._log.position(connection).removals == before.removals
            if is_current:
                replaced = PACKS.c.pack.in_([one.pack for one in older])
                connection.execute(PACKS.delete().where(replaced))
                connection.execute(EVENTS.delete().where(EVENTS.c.seq <= until))
                if pack is not None:
                    self._add(connection, pack, origin, first)
        self._remove_invisible()
        return is_current

    def _write(self, table: pa.Table, arrivals: NDArray[np.integer[Any]]) -> dict[str, Any]:
        """Write the rows of a pack, which nobody sees yet; its row of the table ``packs``."""
        packed = PackedEvents.of_table(without_empty_columns(table), arrivals)
        number = secrets.randbits(62)
        names = [(name, len(texts), encode_names(texts)) for name, texts in packed.names.items()]
        if "event_id" in packed.texts:
            given = {one for one in packed.texts["event_id"].to_pylist() if one}
            hashes = np.sort(hash_ids(given))
            names.append((EVENT_IDS, len(hashes), hashes.tobytes()))
        rows = [dict(zip(PACK_NAMES.c.keys(), (number, *one), strict=True)) for one in names]
        with self._database.write() as connection:
            insert_rows(connection, self._insert_names, rows)
        left = packed.user_rows(number)
        while chunk := list(islice(left, _AT_ONCE)):
            with self._database.write() as connection:
                insert_rows(connection, self._insert_rows, chunk)
        sizes = {"events": len(packed), "first_seq": 0, "last_seq": int(arrivals.max())}
        return {"pack": number, "fields": packed.fields, **sizes}

    def _add(
        self, connection: Connection, pack: dict[str, Any], origin: str, first_seq: int
    ) -> int:
        self._require_lock()  # else somebody removes what no row names yet
        last = first_seq + int(pack["last_seq"])
        numbers = {"first_seq": first_seq, "last_seq": last}
        connection.execute(PACKS.insert(), {**pack, **numbers, "origin": origin, "stale": False})
        return last

    def _remove_invisible(self) -> None:
        numbers = select(PACKS.c.pack)
        key = PACK_ROWS.c.pack, PACK_ROWS.c.user_id
        some = select(*key).where(PACK_ROWS.c.pack.not_in(numbers)).limit(_AT_ONCE)
        removed = _AT_ONCE
        while removed == _AT_ONCE:
            with self._database.write() as connection:
                removed = connection.execute(
                    PACK_ROWS.delete().where(tuple_(*key).in_(some))
                ).rowcount
        with self._database.write() as connection:
            connection.execute(PACK_NAMES.delete().where(PACK_NAMES.c.pack.not_in(numbers)))


def note_remains(connection: Connection) -> None:
    """Note that bytes are left, as by which an erasure asks for a scrub.

    Each note is another one, so that whoever removes them takes back none that was made meanwhile.
    """
    set_meta(connection, ERASED_BYTES_KEY, secrets.token_hex(8))


def _merged(packs: Sequence[Row[Any]], events: int) -> list[Row[Any]]:
    merged = []
    for one in sorted(packs, key=lambda one: one.events):
        if one.origin == "api" and one.events <= _MERGE_FACTOR * events:
            merged.append(one)
            events += one.events
    return merged


def _has_any(events: pa.Table, event_ids: Sequence[str]) -> bool:
    if not event_ids or "event_id" not in events.column_names:
        return False
    return not set(event_ids).isdisjoint(read_codes(events, "event_id")[1].to_pylist())


def _is_new(events: pa.Table, known: NDArray[np.uint64], is_late: BoolArray) -> BoolArray:
    """(E,) True for events without an ``event_id``, or with one that nobody had before.

    False for late ones (E,), which have no say about others.
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
