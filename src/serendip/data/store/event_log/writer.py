"""Writes segments: an import's events, the compaction of the tail, the erasure of a user.

Every change is prepared beside the log and becomes visible by rows of the table ``segments``, in
one transaction: after a crash at any moment the log is the old one or the new one. One process at a
time writes segments; events of the API are appended and users erased meanwhile.

An erasure takes effect in one short transaction: it deletes the rows of the tail and hides the user
in every segment by the number that they have there. Then, or at the latest by the next import or
compaction, each of these segments is written again without the hidden users.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray
from serendip.data.limits import MAX_CLOCK_LEAD_S
from serendip.data.log.event_table import (
    fill_missing,
    is_first,
    read_codes,
    without_empty_columns,
)
from serendip.data.log.segment import SegmentDamaged
from serendip.data.log.segment_folder import SegmentFacts, SegmentFolder
from serendip.data.store.event_log.view import (
    IMPORTS_KEY,
    LOG_NAME_KEY,
    REMOVALS_KEY,
    LogPosition,
    LogView,
    read_log,
)
from serendip.data.store.tables.erased_users import ErasedUsers, Erasures, UserErasure
from serendip.errors import BusyError

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Connection

    from serendip.data.store.database import Database
    from serendip.data.store.tables.users import Users

T = TypeVar("T")

_log = logging.getLogger(__name__)

_WRITES_KEY = "log writes"

REMAINS_KEY, ITEM_REMAINS_KEY = "deleted rows", "deleted rows of items"
"""Keys of the meta table whose values are not empty while the file may have bytes of erased rows:
of users, and of items."""

REPLACED_KEY = "replaced segments"
"""Key of the meta table whose value is not empty while segments may be left that count no more."""

MERGE_FACTOR = 4
"""A compaction merges a segment that has at most this many times the events that it writes anyway:
the number of segments then grows with the logarithm of the number of events."""


@dataclass(frozen=True, slots=True)
class Import:
    """The events of an import, written as a segment that nobody sees yet.

    Args:
        events: all that the files have, in order; None = none of them has an ``event_id``.
        segment: name and checksum of the segment; None = no event is new.
        position: of the log when the events were compared with it.
        num_events: number of events in the segment.
        num_erased: number of events that are left out, as their users were erased after them.
        erasures: that these are.
    """

    events: pa.Table | None
    segment: tuple[str, str] | None
    position: LogPosition
    num_events: int
    num_erased: int
    erasures: Erasures


class LogWriter:
    """Writes the segments of one database.

    Args:
        database: names the segments and holds the tail.
        folder: of the segments.
        users: of the database; an erasure removes what they have of the user.
    """

    def __init__(self, database: Database, folder: SegmentFolder, users: Users) -> None:
        from serendip.data.store import schema

        self._database, self._folder, self._sql = database, folder, schema
        self._users, self._erased = users, ErasedUsers(database)
        self._set_meta = schema.upsert_meta(database.dialect)
        self._name = ""
        self._require_lock: Callable[[], None] = lambda: None

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be the only writer of segments; removes what does not count, before and after.

        Raises:
            StorageError: another process is writing segments, or another copy of the database has
                written to the log in the storage.
        """
        with (
            self._database.exclusive("segments") as self._require_lock,
            self._folder.exclusive(),
        ):
            self._count_write()
            self._remove_others()
            yield
            self._remove_others()

    def prepare(self, events: pa.Table) -> Import:
        """Write the events of files as a segment, without those that the API or a file repeats.

        Within ``exclusive``. An event repeats another one if both have the same ``event_id``. Those
        of users who were erased after them are left out, too.
        """

        def read(view: LogView) -> tuple[LogPosition, pa.Array, Erasures]:
            return view.position(), view.api_event_ids(), self._erased.all(view.connection)

        position, known, erasures = self._read(read)
        is_late = erasures.late_rows(events)
        is_new = _is_new(events, known, is_late)
        new = events if is_new.all() else events.filter(_as_mask(is_new))
        segment = None
        if len(new):
            table = without_empty_columns(new)
            segment = self._folder.write(self._log_name(), table, np.arange(len(table)))
        has_ids = "event_id" in without_empty_columns(events).column_names
        kept = events if has_ids else None
        return Import(kept, segment, position, len(new), int(is_late.sum()), erasures)

    def publish(self, connection: Connection, prepared: Import) -> Import:
        """Replace the events of earlier imports, within a write transaction.

        Returns:
            the import as it is in the log now.
        """
        if prepared.events is not None:
            after = {"after": prepared.position.seq}
            appended = connection.scalars(self._sql.TAIL_IDS_AFTER, after).all()
            if appended and _has_any(prepared.events, appended):
                prepared = self.prepare(prepared.events)  # posted meanwhile: the post came first
        connection.execute(self._sql.DROP_FILE_SEGMENTS)
        self._count_removal(connection)
        self._count_import(connection)
        if prepared.segment is not None:
            number = self._last_number(connection)
            last = number + prepared.num_events
            self._add(connection, prepared.segment, "file", number + 1, last, prepared.num_events)
            self._database.set_last_number(connection, "events", "seq", last)
            prepared = self._leave_out(connection, prepared, prepared.segment[0])
        self._forget(connection)
        return prepared

    def _leave_out(self, connection: Connection, prepared: Import, segment: str) -> Import:
        """Leave out of an import what happened before erasures since it was prepared.

        Whoever has nothing else in the segment is hidden there. For others it is written again, so
        that what happened after their erasure stays.
        """
        new = self._erased.all(connection).since(prepared.erasures)
        if not new.by_digest:
            return prepared
        view = LogView(connection, self._folder)
        found = view.late_events(segment, new)
        if not found:
            return prepared
        count = sum(late for late, _ in found.values())
        if all(late == total for late, total in found.values()):
            rows = [{"segment": segment, "number": number} for number in found]
            connection.execute(self._sql.HIDE, rows)
        else:
            facts = next(one for one in view.facts if one.name == segment)
            table = view.segment_table(facts)
            table = table.filter(_as_mask(~new.late_rows(table)))
            seqs = np.asarray(table["seq"], np.int64)
            connection.execute(self._sql.DROP_SEGMENT, {"segment": segment})
            added = self._write(table.drop_columns(["seq"]), seqs)
            self._add(connection, added, "file", *_range(seqs))
        num_events, num_erased = prepared.num_events - count, prepared.num_erased + count
        return replace(prepared, num_events=num_events, num_erased=num_erased)

    def compact(self) -> int:
        """Move the events of the tail into a segment; readers meet each event once.

        Returns:
            number of events moved.
        """
        with self.exclusive():
            self._rewrite_all()
            return self._move_tail()

    def _move_tail(self) -> int:
        before, tail, facts = self._read(lambda view: (view.position(), view.tail(), view.facts))
        if not len(tail):
            return 0
        merged = _merged(facts, len(tail))
        older = [self._read(partial(LogView.segment_table, facts=one)) for one in merged]
        table, seqs = _join([*older, tail])
        added = self._write(table, seqs)
        # It looks for erased users among all those of a segment, without a word to the database.
        with self._database.write(may_pause=True) as connection:
            connection.execute(self._sql.CUT_TAIL, {"until": int(np.asarray(tail["seq"]).max())})
            self._replace(connection, merged, added, seqs, "api", before)
        return len(tail)

    def erase_user(
        self, user_id: str, moment: float, until: float = -math.inf
    ) -> tuple[UserErasure, int]:
        """Remove a user's events from everything that reads the log, and their attributes.

        Their bytes are still in segments until ``rewrite``. In a segment that cannot be read they
        are removed as soon as it can be.

        Args:
            user_id: external id.
            moment: Unix seconds; what happened until then is never stored again.
            until: the same for the times of events; at least ``moment`` and the time of every event
                that is removed.

        Returns:
            the erasure, and the number of events removed.
        """
        damaged = self._read(LogView.damaged)  # verified before the write lock is taken
        with self._database.write() as connection:
            view = LogView(connection, self._folder)
            places = view.places_of_user(user_id, damaged)
            in_tail_until = connection.scalar(self._sql.NEWEST_OF_USER, {"user": user_id})
            in_tail = connection.execute(self._sql.ERASE_USER, {"user": user_id}).rowcount
            if places:
                rows = [{"segment": one.segment, "number": one.number} for one in places]
                connection.execute(self._sql.HIDE, rows)
            had_attributes = self._users.erase(connection, user_id)
            if in_tail or places or had_attributes or damaged:
                self._count_removal(connection)
            # Whatever is found: rows that an import or a compaction removed leave bytes, too.
            connection.execute(self._set_meta, remains_note())
            earlier = self._erased.among(connection, [user_id]).find(user_id)
            removals = LogView(connection, self._folder).position().removals
            ends = [moment, until, in_tail_until or moment, *(one.newest for one in places)]
            if damaged:  # nobody knows the newest time there: the latest that the API accepts
                ends.append(moment + MAX_CLOCK_LEAD_S)
            if earlier is not None:
                moment, ends = max(moment, earlier.moment), [*ends, earlier.until]
            erasure = self._erased.record(connection, user_id, moment, removals, max(ends))
            self._let_wait(connection, view, erasure.digest, damaged)
        return erasure, int(in_tail) + sum(one.events for one in places)

    def _let_wait(
        self, connection: Connection, view: LogView, digest: str, damaged: frozenset[str]
    ) -> None:
        """Note who is erased in segments that cannot be read, once each."""
        rows = [
            {"segment": facts.name, "digest": digest}
            for facts in view.facts
            if facts.name in damaged and digest not in view.waiting.get(facts.name, ())
        ]
        if rows:
            connection.execute(self._sql.WAIT, rows)

    def _end_waiting(self) -> None:
        """Hide whoever was erased while a segment could not be read, where it can be by now."""
        for name in sorted(self._read(lambda view: view.waiting)):
            with suppress(SegmentDamaged):
                self._read(partial(LogView.waiting_in, name=name))  # before the write lock is taken
                with self._database.write() as connection:
                    view = LogView(connection, self._folder)
                    found, hidden = view.waiting_in(name), view.hidden.get(name, frozenset())
                    new = [one.number for one in found.values() if one.number not in hidden]
                    if new:
                        rows = [{"segment": name, "number": number} for number in new]
                        connection.execute(self._sql.HIDE, rows)
                    newest = {user_id: one.newest for user_id, one in found.items()}
                    self._erased.extend(connection, newest)
                    done = [{"name": name, "who": digest} for digest in view.waiting[name]]
                    connection.execute(self._sql.END_WAITING, done)

    def rewrite(self, most_in_tail: int) -> int:
        """Write every segment that has erased users again without them; returns their number.

        A tail of more events than ``most_in_tail`` is moved into a segment.

        Each takes effect by itself: an interrupted call goes on where it was. Those that cannot be
        read are left for a later one.
        """
        with self.exclusive():
            count = self._rewrite_all()
            if self._read(LogView.count_tail) > most_in_tail:
                self._move_tail()
            return count

    def rename(self) -> None:
        """Give the log and all its segments another name, as a copy of it must have.

        Two logs of one name in one place would each remove the segments of the other. Nobody else
        may use the database meanwhile.
        """
        facts, name = self._read(lambda view: view.facts), secrets.token_hex(4)
        rows = [{"old": one.name, "new": self._folder.rename(one.name, name)} for one in facts]
        with self._database.write() as connection:
            if rows:
                connection.execute(self._sql.RENAME_SEGMENT, rows)
                connection.execute(self._sql.RENAME_HIDDEN, rows)
                connection.execute(self._sql.RENAME_WAITING, rows)
            connection.execute(self._set_meta, {"key": LOG_NAME_KEY, "value": name})
        self._name = name

    def _rewrite_all(self) -> int:
        self._end_waiting()
        count, left = 0, set[str]()
        while True:
            before, facts, hidden = self._read(
                lambda view: (view.position(), view.facts, view.hidden)
            )
            found = [one for one in facts if one.name in hidden and one.name not in left]
            if not found:
                return count
            one = found[0]
            try:
                table = self._read(partial(LogView.segment_table, facts=one))
            except SegmentDamaged as error:
                _log.warning("erased users are removed from it later: %s", error)
                left.add(one.name)
                continue
            seqs = np.asarray(table["seq"], np.int64)
            table = table.drop_columns(["seq"])
            added = self._write(table, seqs) if len(table) else None
            with self._database.write(may_pause=True) as connection:
                self._replace(connection, [one], added, seqs, one.origin, before)
            self._remove_others()
            count += 1

    def _replace(
        self,
        connection: Connection,
        older: Sequence[SegmentFacts],
        added: tuple[str, str] | None,
        seqs: NDArray[np.int64],
        origin: str,
        before: LogPosition,
    ) -> None:
        """Let a segment count instead of others, which were read at a position or later."""
        for one in older:
            connection.execute(self._sql.DROP_SEGMENT, {"segment": one.name})
        if added is not None:
            self._add(connection, added, origin, *_range(seqs))
            self._hide_erased(connection, added[0], before.removals)
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        """Forget what was erased in segments that do not count any more; note that they are left.

        Who is erased in them is not hidden there any more, but their bytes are there until
        ``_remove_others``, which may be interrupted.
        """
        connection.execute(self._sql.FORGET_HIDDEN)
        connection.execute(self._sql.FORGET_WAITING)
        connection.execute(self._set_meta, remains_note(REPLACED_KEY))

    def _hide_erased(self, connection: Connection, segment: str, removals: int) -> None:
        """Hide the users in a new segment who were erased since its events were read."""
        erasures = self._erased.after(connection, removals)
        if not erasures.by_digest:
            return
        names = LogView(connection, self._folder).users_of(segment)
        rows = [
            {"segment": segment, "number": number}
            for number, name in enumerate(names)
            if erasures.find(name) is not None
        ]
        if rows:
            connection.execute(self._sql.HIDE, rows)

    def _write(self, table: pa.Table, seqs: NDArray[np.int64]) -> tuple[str, str]:
        filled = without_empty_columns(table)
        return self._folder.write(self._log_name(), filled, seqs - int(seqs.min()))

    def _add(
        self,
        connection: Connection,
        segment: tuple[str, str],
        origin: str,
        first_seq: int,
        last_seq: int,
        events: int,
    ) -> None:
        self._require_lock()  # else somebody removes what no row names yet
        name, checksum = segment
        facts = {"name": name, "checksum": checksum, "origin": origin, "events": events}
        values = {**facts, "first_seq": first_seq, "last_seq": last_seq}
        connection.execute(self._sql.ADD_SEGMENT, values)

    def _last_number(self, connection: Connection) -> int:
        """The largest sequence number ever given out."""
        mark = LogView(connection, self._folder).position()
        return max(mark.seq, self._database.last_number(connection, "events", "seq"))

    def _count_removal(self, connection: Connection) -> None:
        removals = LogView(connection, self._folder).position().removals + 1
        connection.execute(self._set_meta, {"key": REMOVALS_KEY, "value": str(removals)})

    def _count_import(self, connection: Connection) -> None:
        imports = LogView(connection, self._folder).position().imports + 1
        connection.execute(self._set_meta, {"key": IMPORTS_KEY, "value": str(imports)})

    def _count_write(self) -> None:
        with self._database.read() as connection:
            writes = connection.scalar(self._sql.META_VALUE, {"name": _WRITES_KEY})
        self._folder.count_write(self._log_name(), int(writes or 0), self._note_writes)

    def _note_writes(self, writes: int) -> None:
        with self._database.write() as connection:
            connection.execute(self._set_meta, {"key": _WRITES_KEY, "value": str(writes)})

    def _remove_others(self) -> None:
        """Remove the segments that do not count, then the note that there are any."""
        key = {"name": REPLACED_KEY}

        def read(view: LogView) -> tuple[Sequence[SegmentFacts], str | None]:
            self._database.require_not_moved(view.connection)  # the new one names others
            return view.facts, view.connection.scalar(self._sql.META_VALUE, key)

        facts, note = self._read(read)
        self._folder.keep_only(self._log_name(), {one.name for one in facts})
        if note:
            with suppress(BusyError), self._database.write() as connection:  # else the next time
                connection.execute(self._sql.CLEAR_META, {**key, "seen": note})

    def _log_name(self) -> str:
        """Random name of this database's log, made by its first writer of segments."""
        if not self._name:
            known = {"name": LOG_NAME_KEY}
            with self._database.read() as connection:
                self._name = connection.scalar(self._sql.META_VALUE, known) or ""
        if not self._name:
            self._name = secrets.token_hex(4)
            with self._database.write() as connection:
                values = {"key": LOG_NAME_KEY, "value": self._name}
                connection.execute(self._set_meta, values)
        return self._name

    def _read(self, read: Callable[[LogView], T]) -> T:
        return read_log(self._database, self._folder, read)


def remains_note(key: str = REMAINS_KEY) -> dict[str, str]:
    """Row of the meta table that says that bytes are left, as by which an erasure asks for a scrub.

    Each is another one, so that whoever removes them takes back no note that was made meanwhile.
    """
    return {"key": key, "value": secrets.token_hex(8)}


def _merged(facts: Sequence[SegmentFacts], events: int) -> list[SegmentFacts]:
    """The segments of the API that a compaction of so many events merges, smallest first."""
    merged = []
    for one in sorted(facts, key=lambda one: one.events):
        if one.origin == "api" and one.events <= MERGE_FACTOR * events:
            merged.append(one)
            events += one.events
    return merged


def _join(tables: Sequence[pa.Table]) -> tuple[pa.Table, NDArray[np.int64]]:
    """Tables with ``seq`` as one table without, and its (E,) sequence numbers."""
    import pyarrow as pa

    joined = pa.concat_tables(tables, promote_options="default") if len(tables) > 1 else tables[0]
    seqs = np.asarray(joined["seq"], np.int64)
    return fill_missing(joined.drop_columns(["seq"])), seqs


def _range(seqs: NDArray[np.int64]) -> tuple[int, int, int]:
    return int(seqs.min()), int(seqs.max()), len(seqs)


def _is_new(events: pa.Table, known: pa.Array, is_late: BoolArray) -> BoolArray:
    """(E,) True for events without an ``event_id``, or with one that nobody had before.

    False for late ones, given as (E,), which have no say about others.
    """
    import pyarrow.compute as pc

    if "event_id" not in events.column_names:
        return ~is_late
    codes, ids = read_codes(events, "event_id")
    is_known = np.asarray(pc.is_in(ids, value_set=known))
    is_empty = np.asarray(pc.equal(ids, ""))
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
