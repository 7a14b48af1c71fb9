"""Writes packs: an import's events, those that a training finds in the tail, an erasure.

The rows of a pack are written beside those that count, in short transactions, and become visible
by its row in the table ``packs``: after a crash at any moment the log is the old one or the new
one. One process at a time writes packs; events of the API are appended and users erased meanwhile.
A pack whose events were read before somebody was erased never counts: it is written again. What
packs share may still name what an erased user alone had, such as the id of an event, until then.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, select, tuple_

from serendip.data.arrays import BoolArray, IntArray
from serendip.data.events.event_table import is_first, read_codes, without_empty_columns
from serendip.data.store.event_log.packs import PackedEvents, encode_names, hash_ids
from serendip.data.store.event_log.reader import EVENT_IDS, REMOVALS_KEY, LogReader
from serendip.data.store.schema import (
    EVENTS,
    FROM_API,
    FROM_FILE,
    PACK_NAMES,
    PACK_ROWS,
    PACKS,
    count_meta,
    insert_into,
    insert_rows,
)
from serendip.data.store.tables.erasures import read_erasures
from serendip.errors import BusyError

if TYPE_CHECKING:
    import pyarrow as pa


T = TypeVar("T")

TRIES = 5  # to write a pack, as users were erased or its events posted meanwhile
# Packing merges a pack that has at most this many times the events that it writes anyway: the
# number of packs then grows with the logarithm of the number of events.
_MERGE_FACTOR = 4
_MOST_MOVED = 20_000  # events of the tail in one transaction: others wait for half a second
_AT_ONCE = 5_000  # rows of a pack in one transaction, so that other writers never wait for long


class PackWriter:
    """Writes the packs of one database."""

    def __init__(self, log: LogReader) -> None:
        self._log, self._database = log, log.database
        dialect = log.database.dialect
        self._insert_names = insert_into(dialect, PACK_NAMES, PACK_NAMES.c.keys())
        self._insert_rows = insert_into(dialect, PACK_ROWS, PACK_ROWS.c.keys())
        self._require_lock: Callable[[], None] = lambda: None

    @contextmanager
    def exclusive(self, wait_s: float = 0.0) -> Iterator[None]:
        """Be the only writer of packs; removes rows that nobody sees, before and after."""
        with self._database.exclusive("packs", wait_s) as self._require_lock:
            self._remove_invisible()
            yield
            self._remove_invisible()

    def replace_imported(
        self, events: pa.Table, bring: Callable[[Connection], T]
    ) -> tuple[T, int, int]:
        """Replace the events of earlier imports; within ``exclusive``.

        Left out is what repeats an event of the API or of the files, as both have the same
        ``event_id``, and what happened before its user was erased. Returns the result of ``bring``,
        and the numbers of events that are stored, and that are left out as users were erased.
        """
        import pyarrow as pa

        def write() -> tuple[T, int, int] | None:
            self._repack_all()  # ids of events of erased users are free again
            with self._database.read() as connection:
                seq, erasures = self._log.position(connection).seq, read_erasures(connection)
                is_late = erasures.late_rows(events)
                is_new = self._are_new(events, is_late, connection)
            new = events if is_new.all() else events.filter(pa.array(is_new))
            pack = self._write(new, np.arange(len(new))) if len(new) else None
            with self._database.write(may_pause=True) as connection:
                posted = self._log.tail_ids_after(seq, connection)
                is_given = not set(posted).isdisjoint(_event_ids(events)[1])
                if is_given or read_erasures(connection) != erasures:
                    return None
                connection.execute(PACKS.delete().where(PACKS.c.origin == FROM_FILE))
                count_meta(connection, REMOVALS_KEY)
                if pack is not None:
                    last = self._database.last_number(connection, "events", "seq")
                    first = max(self._log.position(connection).seq, last) + 1
                    self._add(connection, pack, FROM_FILE, first)
                    last = first + len(new) - 1
                    self._database.set_last_number(connection, "events", "seq", last)
                return bring(connection), len(new), int(is_late.sum())

        return self._retry(write)

    def _are_new(self, events: pa.Table, is_late: BoolArray, connection: Connection) -> BoolArray:
        """(E,) True for events without an ``event_id``, or with one that nobody had before.

        False for late ones (E,), which have no say about others.
        """
        codes, names = _event_ids(events)
        kept = [one for one in self._log.packs(connection) if one.origin == FROM_API]
        posted = set(self._log.tail_ids_after(0, connection))
        is_known = self._log.is_packed(names, kept, connection)
        is_known |= np.array([name in posted for name in names], np.bool_)
        rows = np.flatnonzero(~is_late)
        is_new = np.zeros(len(events), np.bool_)
        is_empty = (np.array(names) == "")[codes[rows]]
        is_new[rows] = is_empty | (is_first(codes[rows]) & ~is_known[codes[rows]])
        return is_new

    def pack(self) -> int:
        """Move the events of the tail into a pack, and count them; readers meet each event once."""
        with self.exclusive(self._database.busy_timeout_s):
            self._repack_all()
            moved, piece = 0, _MOST_MOVED
            while piece == _MOST_MOVED:
                piece = self._retry(partial(self._pack_again, _MOST_MOVED))
                moved += piece
            return moved

    def repack(self) -> None:
        """Pack again what had events of users who were erased since.

        Each pack takes effect by itself: an interrupted call goes on where it was.
        """
        with self.exclusive():
            self._repack_all()

    def _repack_all(self) -> None:
        while self._retry(partial(self._pack_again, 0)):
            pass

    def _pack_again(self, most: int) -> int | None:
        """Let a new pack count instead of others, and of the first ``most`` events of the tail.

        Of 0 events, instead of a pack that has lost some. Returns the number of these events, or
        packs; None = somebody was erased meanwhile: nothing has changed.
        """
        with self._database.read() as connection:
            before, packs = self._log.position(connection), self._log.packs(connection)
            tail = self._log.tail(connection, most=most)
            older = _merged(packs, len(tail)) if most else [one for one in packs if one.stale][:1]
            table = self._log.joined(connection, packs=older, tail=tail)
        done = len(tail) if most else len(older)
        if not done:
            return 0
        seqs = np.asarray(table["seq"], np.int64)
        first = int(seqs.min(initial=0))
        pack = self._write(table.drop_columns(["seq"]), seqs - first) if len(table) else None
        with self._database.write() as connection:
            if self._log.position(connection).removals != before.removals:
                return None
            numbers = [one.pack for one in older]
            connection.execute(PACKS.delete().where(PACKS.c.pack.in_(numbers)))
            if most:
                until = int(np.asarray(tail["seq"]).max())
                connection.execute(EVENTS.delete().where(EVENTS.c.seq <= until))
            if pack is not None:
                self._add(connection, pack, FROM_API if most else older[0].origin, first)
        self._remove_invisible()
        return done

    def _retry(self, write: Callable[[], T | None]) -> T:
        """What a writer of packs returns, which is None where somebody interfered."""
        for _ in range(TRIES):
            if (result := write()) is not None:
                return result
        raise BusyError(
            "users are being erased, or events of the files posted, all the time.",
            "Nothing was written, and nothing is lost. Try again when that has ended.",
        )

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
        numbers = {"pack": number, "events": len(packed), "last_seq": int(arrivals.max())}
        return {**numbers, "fields": json.dumps(packed.records.dtype.descr), "stale": False}

    def _add(self, connection: Connection, pack: dict[str, Any], origin: str, first: int) -> None:
        self._require_lock()  # else somebody removes what no row names yet
        numbers = {"first_seq": first, "last_seq": first + pack["last_seq"]}
        connection.execute(PACKS.insert(), {**pack, **numbers, "origin": origin})

    def _remove_invisible(self) -> None:
        numbers = select(PACKS.c.pack)
        key = PACK_ROWS.c.pack, PACK_ROWS.c.user_id
        some = select(*key).where(PACK_ROWS.c.pack.not_in(numbers)).limit(_AT_ONCE)
        removed = _AT_ONCE
        while removed == _AT_ONCE:
            with self._database.write() as connection:
                statement = PACK_ROWS.delete().where(tuple_(*key).in_(some))
                removed = connection.execute(statement).rowcount
        with self._database.write() as connection:
            connection.execute(PACK_NAMES.delete().where(PACK_NAMES.c.pack.not_in(numbers)))


def _merged(packs: Sequence[Row[Any]], events: int) -> list[Row[Any]]:
    merged = []
    for one in sorted(packs, key=lambda one: one.events):
        if one.origin == FROM_API and one.events <= _MERGE_FACTOR * events:
            merged.append(one)
            events += one.events
    return merged


def _event_ids(events: pa.Table) -> tuple[IntArray, list[str]]:
    if "event_id" not in events.column_names:
        return np.zeros(len(events), np.int32), [""]
    codes, names = read_codes(events, "event_id")
    return codes, names.to_pylist()
