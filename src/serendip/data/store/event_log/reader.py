"""The event log of one database: the packs that count, and the tail.

Packing moves events from the tail to a pack within one transaction, so that every reader meets each
event once, whatever happens meanwhile.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from serendip.data.arrays import BoolArray, locate
from serendip.data.events.event import EVENT_COLUMNS, Event, EventColumns, session_code
from serendip.data.events.event_table import (
    join_events,
    list_events,
    read_sessions,
    tabulate_rows,
    without_empty_columns,
)
from serendip.data.limits import EARLIEST
from serendip.data.rows.arrow import to_arrow
from serendip.data.store.event_log.packs import (
    BLOBS,
    SESSION,
    PackedEvents,
    PackNames,
    decode_names,
    hash_ids,
)
from serendip.data.store.schema import EVENTS, FROM_API, META, PACK_NAMES, PACK_ROWS, PACKS
from serendip.data.store.validation import id_problem

if TYPE_CHECKING:
    import pyarrow as pa

    from serendip.data.store.base import Database

# Of the meta table: number of imports, and of erasures that found anything.
REMOVALS_KEY = "event removals"
EVENT_IDS = "event_id"  # name, among those of a pack, of the hashes of the ids that senders gave
MOST = 2**31 - 1
FETCHED = 10_000  # rows of a large result that are fetched at once

_EVENT = (*EVENT_COLUMNS, "seq")
_PAST_NAMES = ("user_id", "item_id", "timestamp", "action", "value", "country", SESSION, "seq")


def _columns(names: Sequence[str]) -> list[ColumnElement[Any]]:
    given: Mapping[str, ColumnElement[Any]] = {  # a session has no number there yet
        "event_id": func.coalesce(EVENTS.c.event_id, literal_column("''")).label("event_id"),
        SESSION: EVENTS.c.session_id,
    }
    return [given[name] if name in given else EVENTS.c[name] for name in names]


_PACKS = PACKS.select().order_by(PACKS.c.first_seq, PACKS.c.pack)
_VISIBLE = PACK_ROWS.c.pack.in_(select(PACKS.c.pack))
_RECORDS = select(PACK_ROWS.c.user_id, PACK_ROWS.c.events, PACK_ROWS.c.records)
_ZERO: ColumnElement[int] = literal_column("0")
_POSITION = select(
    select(func.coalesce(func.max(EVENTS.c.seq), _ZERO)).scalar_subquery(),
    select(func.coalesce(func.max(PACKS.c.last_seq), _ZERO)).scalar_subquery(),
    select(META.c.value).where(META.c.key == literal_column(f"'{REMOVALS_KEY}'")).scalar_subquery(),
)
_USERS_OF_TAIL = select(EVENTS.c.user_id, func.count().label("events")).group_by(EVENTS.c.user_id)
_USERS_OF_PACKS = select(PACK_ROWS.c.user_id, PACK_ROWS.c.events).where(_VISIBLE)


def _of_user(names: Sequence[str], *texts: str) -> tuple[Select[Any], Select[Any]]:
    """A user's events since a time in the tail, and their rows of packs with these texts."""
    is_new = EVENTS.c.user_id == bindparam("user"), EVENTS.c.timestamp >= bindparam("since")
    packed = select(PACK_ROWS.c.pack, *_RECORDS.selected_columns, *(PACK_ROWS.c[n] for n in texts))
    is_packed = PACK_ROWS.c.user_id == bindparam("user"), _VISIBLE
    return select(*_columns(names)).where(*is_new), packed.where(*is_packed)


_PAST, _HISTORY = _of_user(_PAST_NAMES), _of_user(_EVENT, *BLOBS)


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A state of the event log: equal positions mean equal logs."""

    removals: int  # number of imports, and of erasures that found events or attributes
    seq: int  # of the last event, 0 in an empty log; grows with every event appended


class LogReader:
    """The event log of one database, with the names of packs in memory; thread-safe.

    Rows are only appended, except by an import or an erasure, which remove rows; ``LogPosition``
    shows both kinds of change. ``within`` is the transaction that something is read in, to be of
    one moment with what else is read there; None = one of its own. ``without`` are actions whose
    events are left out.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._names: dict[int, PackNames] = {}
        self._counted: tuple[LogPosition | None, int] = None, 0

    def position(self, within: Connection | None = None) -> LogPosition:
        """The current position of the log."""
        with self.database.read(within) as connection:
            tail, packed, removals = connection.execute(_POSITION).one()
        return LogPosition(int(removals or 0), max(int(tail), int(packed)))

    def packs(self, connection: Connection) -> Sequence[Row[Any]]:
        """The packs that count, as rows of their table; names of others are forgotten."""
        found = connection.execute(_PACKS).all()
        for number in self._names.keys() - {one.pack for one in found}:
            self._names.pop(number, None)
        return found

    def _names_of(self, pack: Row[Any], connection: Connection) -> PackNames:
        known = self._names.get(pack.pack)
        if known is None:
            rows = connection.execute(PACK_NAMES.select().where(PACK_NAMES.c.pack == pack.pack))
            found = {name: (count, content) for _, name, count, content in rows}
            _, hashes = found.pop(EVENT_IDS, (0, b""))
            names = {name: decode_names(content, n) for name, (n, content) in found.items()}
            kind = np.dtype([(name, form) for name, form in json.loads(pack.fields)])
            known = PackNames(kind, pack.first_seq, names, np.frombuffer(hashes, np.uint64))
            self._names[pack.pack] = known
        return known

    def _parts(
        self, connection: Connection, pack: Row[Any], texts: Sequence[str] = (), *conditions: Any
    ) -> Iterator[PackedEvents]:
        """Events of a pack, users by the thousand, with the texts of these names."""
        statement = _RECORDS.add_columns(*(PACK_ROWS.c[name] for name in texts))
        chosen = statement.where(PACK_ROWS.c.pack == pack.pack, *conditions)
        for rows in connection.execute(chosen).partitions(FETCHED):
            yield PackedEvents.of_rows(self._names_of(pack, connection), rows, texts)

    def count(self) -> int:
        """Number of events, counted again where the log has changed."""
        with self.database.read() as connection:
            position = self.position(connection)
            if position != self._counted[0]:
                in_tail = connection.scalar(select(func.count()).select_from(EVENTS)) or 0
                packed = sum(int(one.events) for one in self.packs(connection))
                self._counted = position, int(in_tail) + packed
        return self._counted[1]

    def count_after(self, seq: int, without: Sequence[str] = ()) -> int:
        """Number of events appended after a sequence number."""
        counted = select(func.count()).where(EVENTS.c.seq > seq, EVENTS.c.action.not_in(without))
        with self.database.read() as connection:
            parts = self._packed_after(connection, seq)
            packed = sum(int(part.is_counted(without).sum()) for part in parts)
            return int(connection.scalar(counted) or 0) + packed

    def _packed_after(
        self, connection: Connection, seq: int, with_imports: bool = True
    ) -> Iterator[PackedEvents]:
        for pack in self.packs(connection):
            if pack.last_seq > seq and (with_imports or pack.origin == FROM_API):
                is_newer = PACK_ROWS.c.last > seq - pack.first_seq
                for part in self._parts(connection, pack, (), is_newer):
                    yield part.select(part.seqs > seq)

    def after(
        self, seq: int, most: int = MOST, with_imports: bool = True
    ) -> tuple[LogPosition, EventColumns]:
        """Events appended after number ``seq``, by time; none are read if there are too many."""
        rows: Sequence[Sequence[Any]] = ()
        with self.database.read() as connection:
            position = self.position(connection)
            if seq < position.seq <= seq + most:
                tail = connection.execute(select(*_columns(_PAST_NAMES)).where(EVENTS.c.seq > seq))
                packed = self._packed_after(connection, seq, with_imports)
                rows = _in_order(map(_with_code, tail), packed, _PAST_NAMES)
        return position, EventColumns.of_rows(rows)

    def past(self, user_id: str, without: Sequence[str] = ()) -> EventColumns:
        """All events of a user."""
        tail, packed = self._read_user(user_id, _PAST, without)
        return EventColumns.of_rows(_in_order(map(_with_code, tail), packed, _PAST_NAMES))

    def history(
        self, user_id: str, limit: int, without: Sequence[str] = (), since: float = EARLIEST
    ) -> list[Event]:
        """The last events of a user since a time, oldest first."""
        if limit <= 0:
            return []
        tail, packed = self._read_user(user_id, _HISTORY, without, BLOBS, since, limit)
        return [Event(*row[:-1]) for row in _in_order(tail, packed, _EVENT)[-limit:]]

    def _read_user(
        self,
        user_id: str,
        statements: tuple[Select[Any], Select[Any]],
        without: Sequence[str],
        texts: Sequence[str] = (),
        since: float = EARLIEST,
        most: int = MOST,
    ) -> tuple[list[Any], list[PackedEvents]]:
        """A user's rows of the tail and events of packs, of each pack the last ``most``."""
        if id_problem(user_id):
            return [], []
        while True:
            with self.database.read_by_driver() as fetch:
                values = {"user": user_id, "since": since}
                tail, packed = (fetch(statement, values) for statement in statements)
            shared = [self._names.get(row[0]) for row in packed]
            if None not in shared:
                break
            with self.database.read() as connection:
                for pack in self.packs(connection):
                    self._names_of(pack, connection)
        parts = []
        for names, row in zip(shared, packed, strict=True):
            if names is not None:
                part = PackedEvents.of_rows(names, [row[1:]], texts)
                wanted = part.is_counted(without) & (part.records["timestamp"] >= since)
                wanted[np.flatnonzero(wanted)[:-most]] = False
                parts.append(part.select(wanted))
        return [row for row in tail if row[3] not in without], parts

    def requested(self, limit: int) -> list[Event]:
        """The last ``limit`` events that have a request id or a query, oldest first."""
        import pyarrow.compute as pc

        was_asked = or_(PACK_ROWS.c.query.is_not(None), PACK_ROWS.c.request_id.is_not(None))
        with self.database.read() as connection:
            events = self.joined(connection, _EVENT, BLOBS, was_asked)
        given = [name for name in ("query", "request_id") if name in events.column_names]
        if not given or limit <= 0:
            return []
        masks = [pc.not_equal(events[name].cast("string"), "") for name in given]
        asked = events.filter(masks[0] if len(masks) == 1 else pc.or_(*masks))
        ordered = asked.sort_by([("timestamp", "ascending"), ("seq", "ascending")])
        return list_events(ordered.slice(max(0, len(ordered) - limit)))

    def queries(self, without: Sequence[str] = ()) -> list[str]:
        """Distinct queries of events, most frequent first."""
        has_any = PACK_ROWS.c.query.is_not(None)
        with self.database.read() as connection:
            events = self.joined(connection, ("action", "query", "seq"), ["query"], has_any)
        if "query" not in events.column_names:
            return []
        counts: Counter[str] = Counter()
        for one in events.group_by(["query", "action"]).aggregate([([], "count_all")]).to_pylist():
            if one["query"] and one["action"] not in without:
                counts[one["query"]] += one["count_all"]
        return sorted(counts, key=lambda query: (-counts[query], query.encode()))

    def rows(self, within: Connection | None = None) -> pa.Table:
        """The columns of the whole log that ``LogColumns`` has, in no order."""
        with self.database.read(within) as connection:
            return self.joined(connection, (*_PAST_NAMES, "device"))

    def table(self, within: Connection | None = None) -> pa.Table:
        """All events with all columns that any of them fills, in order of arrival."""
        with self.database.read(within) as connection:
            joined = self.joined(connection, _EVENT, BLOBS)
        return without_empty_columns(joined.sort_by("seq").drop_columns(["seq"]))

    def since(self, moment: float) -> pa.Table:
        """The events since a moment (Unix seconds), in no order."""
        import pyarrow.compute as pc

        with self.database.read() as connection:
            found = self.joined(connection, _EVENT, BLOBS, PACK_ROWS.c.newest >= moment)
        return found.filter(pc.greater_equal(found["timestamp"], moment))

    def joined(
        self,
        connection: Connection,
        names: Sequence[str] = _EVENT,
        texts: Sequence[str] = BLOBS,
        *which: Any,
        packs: Iterable[Row[Any]] | None = None,
        tail: pa.Table | None = None,
    ) -> pa.Table:
        """Some columns of the events of some packs, and of a tail; None = of all."""
        parts = [
            part.table(names)
            for pack in (self.packs(connection) if packs is None else packs)
            for part in self._parts(connection, pack, texts, *which)
        ]
        tail = without_empty_columns(self.tail(connection, names) if tail is None else tail)
        if "session_id" in tail.column_names and SESSION in names:
            sessions = to_arrow(read_sessions(tail))
            tail = tail.drop_columns(["session_id"]).append_column(SESSION, sessions)
        return join_events([*parts, tail])

    def tail(
        self, connection: Connection, names: Sequence[str] = _EVENT, most: int = MOST
    ) -> pa.Table:
        """The first events of the tail in order of arrival, with ``seq``."""
        statement = select(*_columns(names)).order_by(EVENTS.c.seq).limit(most)
        columns = [column.name for column in statement.selected_columns]
        return tabulate_rows(columns, connection.execute(statement).yield_per(FETCHED))

    def is_packed(
        self, event_ids: Sequence[str], packs: Iterable[Row[Any]], connection: Connection
    ) -> BoolArray:
        """(N,) whether packs have an event that was sent with one of the ids."""
        wanted = hash_ids(event_ids)
        found = np.zeros(len(wanted), np.bool_)
        for pack in packs:
            found |= locate(self._names_of(pack, connection).event_ids, wanted)[1]
        return found

    def tail_ids_after(self, seq: int, connection: Connection) -> list[str]:
        """The ids that senders gave events of the tail after a sequence number."""
        is_given = EVENTS.c.event_id.is_not(None), EVENTS.c.seq > seq
        return list(connection.scalars(select(EVENTS.c.event_id).where(*is_given)))

    def active_users(self, most: int) -> list[tuple[str, int]]:
        """(user_id, number of events) of the most active users, most active first."""
        both = union_all(_USERS_OF_TAIL, _USERS_OF_PACKS).subquery()
        total = func.sum(both.c.events)
        users = select(both.c.user_id, total).group_by(both.c.user_id)
        ordered = users.order_by(total.desc(), both.c.user_id).limit(max(most, 0))
        return [(user, int(count)) for user, count in self.database.rows(ordered)]


def _with_code(row: Sequence[Any]) -> Sequence[Any]:
    return (*row[:-2], session_code(row[-2]), row[-1])


def _in_order(
    tail: Iterable[Sequence[Any]], packed: Iterable[PackedEvents], names: Sequence[str]
) -> list[Sequence[Any]]:
    rows = [*tail, *(row for part in packed for row in part.rows(names))]
    return sorted(rows, key=lambda row: (row[2], row[-1]))  # time and number
