"""Writes segments: an import's events, the compaction of the tail, the erasure of a user.

Every change is prepared beside the log and becomes visible by rows of the table ``segments``, in
one transaction: after a crash at any moment the log is the old one or the new one. One process at a
time writes segments; events of the API are appended meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray
from serendip.data.log.event_table import (
    fill_missing,
    is_first,
    read_codes,
    without_empty_columns,
)
from serendip.data.log.segment_folder import SegmentFacts, SegmentFolder
from serendip.data.store.log_view import REMOVALS_KEY, LogView, read_log

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Connection

    from serendip.data.store.database import Database
    from serendip.data.store.users import Users

T = TypeVar("T")

_NAME_KEY = "log name"

MERGE_FACTOR = 4
"""A compaction merges a segment that has at most this many times the events that it writes anyway:
the number of segments then grows with the logarithm of the number of events."""


@dataclass(frozen=True, slots=True)
class Import:
    """The events of an import, written as a segment that nobody sees yet.

    Args:
        events: all that the files have, in order; None = none of them has an ``event_id``.
        segment: name and checksum of the segment; None = no event is new.
        last_seq: of the tail when the events were compared with it.
        num_events: number of events in the segment.
    """

    events: pa.Table | None
    segment: tuple[str, str] | None
    last_seq: int
    num_events: int


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
        self._users = users
        self._set_meta = schema.upsert_meta(database.dialect)
        self._name = ""

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be the only writer of segments; removes what does not count, before and after.

        Raises:
            StorageError: another process is writing segments.
        """
        with self._folder.exclusive():
            self._remove_others()
            yield
            self._remove_others()

    def prepare(self, events: pa.Table) -> Import:
        """Write the events of files as a segment, without those that the API or a file repeats.

        Within ``exclusive``. An event repeats another one if both have the same ``event_id``.
        """

        def read(view: LogView) -> tuple[int, pa.Array]:
            return view.position().seq, view.api_event_ids()

        last_seq, known = self._read(read)
        is_new = _is_new(events, known)
        new = events if is_new.all() else events.filter(_as_mask(is_new))
        segment = None
        if len(new):
            table = without_empty_columns(new)
            segment = self._folder.write(self._log_name(), table, np.arange(len(table)))
        has_ids = "event_id" in without_empty_columns(events).column_names
        return Import(events if has_ids else None, segment, last_seq, len(new))

    def publish(self, connection: Connection, prepared: Import) -> int:
        """Replace the events of earlier imports, within a write transaction.

        Returns:
            number of events of this import.
        """
        if prepared.events is not None:
            after = {"after": prepared.last_seq}
            appended = connection.scalars(self._sql.TAIL_IDS_AFTER, after).all()
            if appended and _has_any(prepared.events, appended):
                prepared = self.prepare(prepared.events)  # posted meanwhile: the post came first
        connection.execute(self._sql.DROP_FILE_SEGMENTS)
        self._count_removal(connection)
        if prepared.segment is not None:
            number = self._last_number(connection)
            last = number + prepared.num_events
            self._add(connection, prepared.segment, "file", number + 1, last, prepared.num_events)
            self._sql.set_last_number(connection, last)
        return prepared.num_events

    def compact(self) -> int:
        """Move the events of the tail into a segment; readers meet each event once.

        Returns:
            number of events moved.
        """
        with self.exclusive():
            tail, facts = self._read(lambda view: (view.tail(), view.facts))
            if not len(tail):
                return 0
            merged = _merged(facts, len(tail))
            older = [self._read(partial(LogView.segment_table, facts=one)) for one in merged]
            table, seqs = _join([*older, tail])
            added = self._write(table, seqs)
            with self._database.write() as connection:
                connection.execute(
                    self._sql.CUT_TAIL, {"until": int(np.asarray(tail["seq"]).max())}
                )
                for one in merged:
                    connection.execute(self._sql.DROP_SEGMENT, {"segment": one.name})
                self._add(connection, added, "api", *_range(seqs))
        return len(tail)

    def erase_user(self, user_id: str) -> int:
        """Remove a user's events from the tail and from every segment, and their attributes.

        Files still have theirs: an import brings them back.

        Returns:
            number of events removed.
        """
        with self.exclusive():
            facts = self._read(lambda view: view.segments_of_user(user_id))
            rewritten = [(one, *self._write_without(one, user_id)) for one in facts]
            with self._database.write() as connection:
                self._users.erase(connection, user_id)
                count = connection.execute(self._sql.ERASE_USER, {"user": user_id}).rowcount
                for one, added, seqs in rewritten:
                    connection.execute(self._sql.DROP_SEGMENT, {"segment": one.name})
                    if added is not None:
                        self._add(connection, added, one.origin, *_range(seqs))
                    count += one.events - len(seqs)
                if count:
                    self._count_removal(connection)
        return int(count)

    def _write_without(
        self, facts: SegmentFacts, user_id: str
    ) -> tuple[tuple[str, str] | None, NDArray[np.int64]]:
        """Write a segment again without a user; None if nothing is left."""
        table = self._read(lambda view: view.segment_table(facts))
        codes, names = read_codes(table, "user_id")
        left = table.filter(_as_mask(codes != names.index(user_id).as_py()))
        seqs = np.asarray(left["seq"], np.int64)
        table = left.drop_columns(["seq"])
        return (self._write(table, seqs) if len(table) else None), seqs

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
        name, checksum = segment
        facts = {"name": name, "checksum": checksum, "origin": origin, "events": events}
        values = {**facts, "first_seq": first_seq, "last_seq": last_seq}
        connection.execute(self._sql.ADD_SEGMENT, values)

    def _last_number(self, connection: Connection) -> int:
        """The largest sequence number ever given out."""
        mark = LogView(connection, self._folder).position()
        return max(mark.seq, self._sql.last_number(connection))

    def _count_removal(self, connection: Connection) -> None:
        removals = LogView(connection, self._folder).position().removals + 1
        connection.execute(self._set_meta, {"key": REMOVALS_KEY, "value": str(removals)})

    def _remove_others(self) -> None:
        facts = self._read(lambda view: view.facts)
        self._folder.remove_others(self._log_name(), {one.name for one in facts})

    def _log_name(self) -> str:
        """Random name of this database's log, made by its first writer of segments."""
        if not self._name:
            known = {"name": _NAME_KEY}
            with self._database.read() as connection:
                self._name = connection.scalar(self._sql.META_VALUE, known) or ""
        if not self._name:
            self._name = secrets.token_hex(4)
            with self._database.write() as connection:
                values = {"key": _NAME_KEY, "value": self._name}
                connection.execute(self._set_meta, values)
        return self._name

    def _read(self, read: Callable[[LogView], T]) -> T:
        return read_log(self._database, self._folder, read)


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


def _is_new(events: pa.Table, known: pa.Array) -> BoolArray:
    """(E,) True for events without an ``event_id``, or with one that nobody had before."""
    import pyarrow.compute as pc

    if "event_id" not in events.column_names:
        return np.ones(len(events), np.bool_)
    codes, ids = read_codes(events, "event_id")
    is_known = np.asarray(pc.is_in(ids, value_set=known))
    is_empty = np.asarray(pc.equal(ids, ""))
    is_new: BoolArray = is_empty[codes] | (is_first(codes) & ~is_known[codes])
    return is_new


def _has_any(events: pa.Table, event_ids: Sequence[Any]) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    _, ids = read_codes(events, "event_id")
    return bool(pc.any(pc.is_in(ids, value_set=pa.array(event_ids, "string"))).as_py())


def _as_mask(mask: BoolArray) -> pa.BooleanArray:
    import pyarrow as pa

    return pa.array(mask)
