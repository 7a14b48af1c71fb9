"""The event log of one database: the packs that count, and the tail.

Packing moves events from the tail to a pack within one transaction, so that every reader meets each
event once, whatever happens meanwhile.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
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
from serendip.data.events.event import Event, EventColumns, session_code
from serendip.data.events.event_table import join_events, tabulate_rows, without_empty_columns
from serendip.data.events.log_columns import LogColumns, read_sessions
from serendip.data.limits import EARLIEST
from serendip.data.rows.arrow import to_arrow
from serendip.data.store.event_log.packs import (
    SESSION,
    TEXTS,
    PackedEvents,
    PackNames,
    decode_names,
    hash_ids,
)
from serendip.data.store.schema import EVENTS, FROM_API, META, PACK_NAMES, PACK_ROWS, PACKS
from serendip.data.store.validation import id_problem

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from serendip.data.store.base import Database

# Of the meta table: number of imports, and of erasures that found anything.
REMOVALS_KEY = "event removals"
EVENT_IDS = "event_id"  # name, among those of a pack, of the hashes of the ids that senders gave
MOST = 2**31 - 1

_MORE = 50  # rows of a history that are fetched beyond twice as many as are wanted
FETCHED = 10_000  # rows of a large result that are fetched at once
_EVENT = (*(field.name for field in fields(Event)), "seq")
_LOG_ROW = ("user_id", "item_id", "timestamp", "action", "value", "country", SESSION, "seq")
_NUMBERS = (*_LOG_ROW, "device")


def _columns(names: Sequence[str]) -> list[ColumnElement[Any]]:
    given: Mapping[str, ColumnElement[Any]] = {  # a session has no number there yet
        "event_id": func.coalesce(EVENTS.c.event_id, literal_column("''")).label("event_id"),
        SESSION: EVENTS.c.session_id,
    }
    return [given[name] if name in given else EVENTS.c[name] for name in names]


_PACKS = PACKS.select().order_by(PACKS.c.first_seq, PACKS.c.pack)
_VISIBLE = PACK_ROWS.c.pack.in_(select(PACKS.c.pack))
_RECORDS = select(PACK_ROWS.c.user_id, PACK_ROWS.c.events, PACK_ROWS.c.records)
_OF_USER = select(PACK_ROWS.c.pack, *_RECORDS.selected_columns).where(
    PACK_ROWS.c.user_id == bindparam("user"), _VISIBLE
)

_ZERO: ColumnElement[int] = literal_column("0")
_POSITION = select(
    select(func.coalesce(func.max(EVENTS.c.seq), _ZERO)).scalar_subquery(),
    select(func.coalesce(func.max(PACKS.c.last_seq), _ZERO)).scalar_subquery(),
    select(META.c.value).where(META.c.key == literal_column(f"'{REMOVALS_KEY}'")).scalar_subquery(),
)

_IS_OF_USER = EVENTS.c.user_id == bindparam("user")
_PAST = select(*_columns(_LOG_ROW)).where(_IS_OF_USER), _OF_USER
_HISTORY = (
    select(*_columns(_EVENT))
    .where(_IS_OF_USER, EVENTS.c.timestamp >= bindparam("since"))
    .order_by(EVENTS.c.timestamp.desc(), EVENTS.c.seq.desc())
    .limit(bindparam("rows"))
    .offset(_ZERO),
    _OF_USER.add_columns(*(PACK_ROWS.c[name] for name in TEXTS)),
)
_REQUESTED = (
    select(*_columns(_EVENT))
    .where(or_(EVENTS.c.request_id != "", EVENTS.c.query != ""))
    .order_by(EVENTS.c.timestamp.desc(), EVENTS.c.seq.desc())
    .limit(bindparam("most"))
)

_USERS_OF_TAIL = select(EVENTS.c.user_id, func.count().label("events")).group_by(EVENTS.c.user_id)
_USERS_OF_PACKS = select(PACK_ROWS.c.user_id, PACK_ROWS.c.events).where(_VISIBLE)


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A state of the event log: equal positions mean equal logs.

    Args:
        removals: number of imports, and of erasures that found events or attributes.
        seq: number of the last event, 0 in an empty log; grows with every event appended.
    """

    removals: int
    seq: int


class LogReader:
    """The event log of one database, with the names of packs in memory; thread-safe.

    Rows are only appended, except by an import or an erasure, which remove rows; ``LogPosition``
    shows both kinds of change. ``within`` is the transaction that something is read in, to be of
    one moment with what else is read there; None = one of its own.
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

    def packs(self, within: Connection | None = None) -> Sequence[Row[Any]]:
        """The packs that count, as rows of their table; names of others are forgotten."""
        with self.database.read(within) as connection:
            found = connection.execute(_PACKS).all()
        for number in self._names.keys() - {one.pack for one in found}:
            self._names.pop(number, None)
        return found

    def _names_of(self, pack: Row[Any], connection: Connection) -> PackNames:
        known = self._names.get(pack.pack)
        if known is None:
            statement = PACK_NAMES.select().where(PACK_NAMES.c.pack == pack.pack)
            found = {
                name: (count, content) for _, name, count, content in connection.execute(statement)
            }
            _, hashes = found.pop(EVENT_IDS, (0, b""))
            names = {name: decode_names(content, n) for name, (n, content) in found.items()}
            kind = np.dtype([(name, form) for name, form in json.loads(pack.fields)])
            known = PackNames(kind, pack.first_seq, names, np.frombuffer(hashes, np.uint64))
            self._names[pack.pack] = known
        return known

    def _load_names(self, within: Connection | None = None) -> None:
        with self.database.read(within) as connection:
            for pack in self.packs(connection):
                self._names_of(pack, connection)

    def _parts(
        self, connection: Connection, pack: Row[Any], texts: Sequence[str] = (), *conditions: Any
    ) -> Iterator[PackedEvents]:
        """Events of a pack, users by the thousand, with the texts of these names."""
        columns = [PACK_ROWS.c[name] for name in texts]
        statement = _RECORDS.add_columns(*columns).where(PACK_ROWS.c.pack == pack.pack)
        for rows in connection.execute(statement.where(*conditions)).partitions(FETCHED):
            yield PackedEvents.of_rows(self._names_of(pack, connection), rows, texts)

    def count(self) -> int:
        """Number of events, counted again where the log has changed."""
        with self.database.read() as connection:
            position, (counted, number) = self.position(connection), self._counted
            if position != counted:
                in_tail = connection.scalar(select(func.count()).select_from(EVENTS)) or 0
                number = int(in_tail) + sum(int(one.events) for one in self.packs(connection))
                self._counted = position, number
        return number

    def count_after(self, seq: int, without: Sequence[str] = ()) -> int:
        """Number of events appended after a sequence number, without some actions."""
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
        """Events of all users appended after number ``seq``, in order of time.

        If more than ``most`` were appended, none are read: reading histories anew is cheaper.
        """
        with self.database.read() as connection:
            position = self.position(connection)
            if not seq < position.seq <= seq + most:
                return position, EventColumns.of_rows(())
            rows = connection.execute(select(*_columns(_LOG_ROW)).where(EVENTS.c.seq > seq))
            return position, _in_columns(rows, self._packed_after(connection, seq, with_imports))

    def past(self, user_id: str, without: Sequence[str] = ()) -> EventColumns:
        """A user's events, without the given actions."""
        return _in_columns(*self._of_user({"user": user_id}, *_PAST), without)

    def history(
        self, user_id: str, limit: int, without: Sequence[str] = (), since: float = EARLIEST
    ) -> list[Event]:
        """The last events of a user since a time, without the given actions, oldest first."""
        most, parts = max(limit, 0), []
        for rows in (2 * most + _MORE, MOST):  # seldom are more of them left out
            values = {"user": user_id, "since": since, "rows": min(rows, MOST)}
            tail, packed = self._of_user(values, *_HISTORY, TEXTS)
            wanted = [row for row in tail if row[3] not in without]
            if len(wanted) >= most or len(tail) < rows:
                break
        for part in packed:
            is_wanted = part.is_counted(without) & (part.records["timestamp"] >= since)
            is_wanted[np.flatnonzero(is_wanted)[:-most]] = False
            parts.append(part.select(is_wanted))
        return _newest(wanted, parts, most)

    def _of_user(
        self,
        values: Mapping[str, Any],
        of_tail: Select[Any],
        of_packs: Select[Any],
        texts: Sequence[str] = (),
    ) -> tuple[list[Any], list[PackedEvents]]:
        if id_problem(values["user"]):
            return [], []
        while True:
            with self.database.read_by_driver() as fetch:
                tail, packed = (fetch(one, values) for one in (of_tail, of_packs))
            shared = [self._names.get(row[0]) for row in packed]
            if None not in shared:
                break
            self._load_names()
        return tail, [
            PackedEvents.of_rows(names, [row[1:]], texts)
            for names, row in zip(shared, packed, strict=True)
            if names is not None
        ]

    def requested(self, limit: int) -> list[Event]:
        """The last ``limit`` events that have a request id or a query, oldest first."""
        most = min(max(limit, 0), MOST)
        was_asked = or_(PACK_ROWS.c.query.is_not(None), PACK_ROWS.c.request_id.is_not(None))
        with self.database.read() as connection:
            parts = [
                part.select(_is_asked(part))
                for pack in self.packs(connection)
                for part in self._parts(connection, pack, TEXTS, was_asked)
            ]
            times = np.concatenate([np.empty(0), *(part.records["timestamp"] for part in parts)])
            since = np.partition(times, -most)[-most] if 0 < most < len(times) else -np.inf
            parts = [part.select(part.records["timestamp"] >= since) for part in parts]
            return _newest(connection.execute(_REQUESTED, {"most": most}), parts, most)

    def queries(self, without: Sequence[str] = ()) -> list[str]:
        """Distinct queries of events, without the given actions, most frequent first."""
        has_any = PACK_ROWS.c.query.is_not(None)
        with self.database.read() as connection:
            events = self._joined(connection, ("action", "query", "seq"), ["query"], has_any)
        if "query" not in events.column_names:
            return []
        counts: Counter[str] = Counter()
        for one in events.group_by(["query", "action"]).aggregate([([], "count_all")]).to_pylist():
            if one["query"] and one["action"] not in without:
                counts[one["query"]] += one["count_all"]
        return sorted(counts, key=lambda query: (-counts[query], query.encode()))

    def columns(self, within: Connection | None = None) -> LogColumns:
        """The whole log as numbers."""
        return LogColumns.of_table(self.rows(within))

    def rows(self, within: Connection | None = None) -> pa.Table:
        """The columns of the whole log that ``columns`` has, in no order."""
        with self.database.read(within) as connection:
            return self._joined(connection, _NUMBERS)

    def table(self, within: Connection | None = None) -> pa.Table:
        """All events with all columns that any of them fills, in order of arrival."""
        with self.database.read(within) as connection:
            joined = self._joined(connection, _EVENT, TEXTS)
        return without_empty_columns(joined.sort_by("seq").drop_columns(["seq"]))

    def _joined(
        self, connection: Connection, names: Sequence[str], texts: Sequence[str] = (), *which: Any
    ) -> pa.Table:
        parts = [
            part.table(names)
            for pack in self.packs(connection)
            for part in self._parts(connection, pack, texts, *which)
        ]
        tail = without_empty_columns(self.tail(connection, names))
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

    def pack_table(self, pack: Row[Any]) -> pa.Table:
        """All columns of a pack's events, with their ``seq``, in order of user and time."""
        import pyarrow as pa

        with self.database.read() as connection:
            tables = [part.table(_EVENT) for part in self._parts(connection, pack, TEXTS)]
        return join_events(tables) if tables else pa.table({})

    def is_packed(
        self, event_ids: Sequence[str], packs: Iterable[Row[Any]], connection: Connection
    ) -> BoolArray:
        """(N,) whether packs have an event that was sent with an id."""
        wanted = hash_ids(event_ids)
        found = np.zeros(len(wanted), np.bool_)
        for pack in packs:
            found |= locate(self._names_of(pack, connection).event_ids, wanted)[1]
        return found

    def api_event_ids(self, connection: Connection) -> NDArray[np.uint64]:
        """Hashes of the ids that senders gave events of the API, in the tail and in packs."""
        # An import replaces the others.
        packs = [one for one in self.packs(connection) if one.origin == FROM_API]
        hashes = [self._names_of(pack, connection).event_ids for pack in packs]
        return np.concatenate([hash_ids(self.tail_ids_after(0, connection)), *hashes])

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
        with self.database.read() as connection:
            return [(user, int(count)) for user, count in connection.execute(ordered)]


def _in_columns(
    tail: Iterable[Sequence[Any]], packed: Iterable[PackedEvents], without: Sequence[str] = ()
) -> EventColumns:
    """Rows of ``_LOG_ROW`` of the tail, and packed events, by time and without some actions."""
    numbered = [(*row[:-2], session_code(row[-2]), row[-1]) for row in tail]
    rows = _in_order(numbered, packed, _LOG_ROW)
    return EventColumns.of_rows([row for row in rows if row[3] not in without])


def _in_order(
    tail: Iterable[Sequence[Any]], packed: Iterable[PackedEvents], names: Sequence[str]
) -> list[Sequence[Any]]:
    rows = [*tail, *(row for part in packed for row in part.rows(names))]
    return sorted(rows, key=lambda row: (row[2], row[-1]))  # time and number


def _newest(
    tail: Iterable[Sequence[Any]], packed: Iterable[PackedEvents], most: int
) -> list[Event]:
    ordered = _in_order(tail, packed, _EVENT)
    return [Event(*row[:-1]) for row in ordered[-most:]] if most else []


def _is_asked(part: PackedEvents) -> NDArray[np.bool_]:
    import pyarrow.compute as pc

    texts = (part.texts.get(name) for name in ("query", "request_id"))
    lengths = [np.asarray(pc.binary_length(column)) for column in texts if column is not None]
    asked: NDArray[np.bool_] = np.any(lengths, axis=0)
    return asked
