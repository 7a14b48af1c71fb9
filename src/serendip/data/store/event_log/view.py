"""The event log as one transaction sees it: the segments that count, and the tail.

A compaction moves events from the tail to a segment within one transaction, so that every reader
meets each event once, whatever happens meanwhile.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray
from serendip.data.events.event import Event, session_code
from serendip.data.log.columns import LogColumns, LogPart
from serendip.data.log.event_table import (
    fill_missing,
    read_codes,
    tabulate_rows,
    without_empty_columns,
)
from serendip.data.log.segment import Segment, SegmentDamaged, SegmentMissing
from serendip.data.log.segment_folder import SegmentFacts, SegmentFolder
from serendip.data.rows.arrow import to_arrow
from serendip.data.store.tables.erased_users import digest_of, read_secret

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Connection, CursorResult

    from serendip.data.store.database import Database
    from serendip.data.store.tables.erased_users import Erasures

T = TypeVar("T")

LOG_NAME_KEY = "log name"
"""Key of the meta table: random name of the log, which the names of its segments begin with."""

REMOVALS_KEY, IMPORTS_KEY = "event removals", "event imports"
"""Keys of the meta table: numbers of imports and erasures, and of these imports."""

LogRow: TypeAlias = tuple[str, str, float, str, float | None, str, int, int]
"""User, item, Unix seconds, action, value, country, session and sequence number of an event."""

_TRIES = 3
_FEW = 64
"""Of fewer than one in so many rows, the users are looked up; else all hidden rows are marked."""
_FETCHED = 10_000


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A state of the event log: equal positions mean equal logs.

    Args:
        removals: number of imports and erasures that removed events from the log.
        seq: number of the last event, 0 in an empty log; grows with every event appended.
        imports: how many of the removals were imports, of those since they are counted apart.
    """

    removals: int
    seq: int
    imports: int


@dataclass(frozen=True, slots=True)
class UserPlace:
    """Events of a user in one segment.

    Args:
        segment: its name.
        number: of the user in it.
        events: number of events.
        newest: Unix seconds of the last of them.
    """

    segment: str
    number: int
    events: int
    newest: float


@dataclass(frozen=True, slots=True)
class _Visible:
    """A segment that counts.

    Args:
        segment: with its files.
        facts: as the database names it.
        hidden: numbers of users in it who were erased; nobody reads their events.
    """

    segment: Segment
    facts: SegmentFacts
    hidden: frozenset[int] = frozenset()

    @property
    def hidden_rows(self) -> NDArray[np.intp]:
        """Rows of the hidden users, ascending."""
        offsets = self.segment.offsets
        parts = [np.arange(offsets[one], offsets[one + 1]) for one in sorted(self.hidden)]
        return np.concatenate([np.empty(0, np.intp), *parts]).astype(np.intp)

    @property
    def is_left(self) -> BoolArray:
        """(E,) False for the rows of hidden users."""
        left = np.ones(len(self.segment), np.bool_)
        left[self.hidden_rows] = False
        return left

    def left(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Rows without those of hidden users."""
        if not self.hidden or not len(rows):
            return rows
        if len(rows) > len(self.segment) // _FEW:
            return rows[self.is_left[rows]]
        users = self.segment.users_of(rows)
        return rows[~np.isin(users, np.fromiter(self.hidden, np.int32))]

    def has_event(self, event_id: str) -> bool:
        """Whether an event that is left was sent with this id."""
        if not self.segment.has_event(event_id):
            return False
        return not self.hidden or event_id not in self.hidden_event_ids().to_pylist()

    def hidden_event_ids(self) -> pa.Array:
        """Ids given by the senders of the events of hidden users."""
        import pyarrow as pa

        if not self.hidden or self.segment.event_ids is None:
            return pa.array([], "string")
        column = self.segment.table(["event_id"], self.hidden_rows)["event_id"]
        return column.cast("string").combine_chunks()

    def event_ids(self) -> pa.Array:
        """Ids given by the senders of the events that are left."""
        import pyarrow as pa
        import pyarrow.compute as pc

        ids = pa.array([], "string") if self.segment.event_ids is None else self.segment.event_ids
        hidden = self.hidden_event_ids()
        return ids.filter(pc.invert(pc.is_in(ids, value_set=hidden))) if len(hidden) else ids

    def seqs(self, rows: NDArray[np.integer[Any]] | slice) -> NDArray[np.int64]:
        return self.segment.arrivals[rows].astype(np.int64) + self.facts.first_seq

    def rows_after(self, seq: int) -> NDArray[np.intp]:
        """Rows of events appended after a sequence number."""
        if self.facts.last_seq <= seq:
            return np.empty(0, np.intp)
        return self.left(np.flatnonzero(self.seqs(slice(None)) > seq))

    def rows_of(self, user_id: str, without: Sequence[str]) -> NDArray[np.intp]:
        """Rows of a user's events, oldest first, without some actions."""
        own = self.segment.rows_of(user_id)
        rows = self.left(np.arange(own.start, own.stop))
        return self.without(rows, without) if len(rows) else rows

    def counts_by_user(self, without: Sequence[str]) -> NDArray[np.int64]:
        """(U,) number of events of each user, without some actions; 0 for hidden ones."""
        counts = self.segment.counts_by_user(without)
        if self.hidden:
            counts[sorted(self.hidden)] = 0
        return counts

    def without(self, rows: NDArray[np.intp], names: Sequence[str]) -> NDArray[np.intp]:
        """Rows without those of some actions."""
        codes = self.segment.codes_of(names)
        return rows[~np.isin(self.segment.actions[rows], codes)] if codes else rows

    def log_rows(self, rows: NDArray[np.intp]) -> list[LogRow]:
        segment = self.segment
        return list(
            zip(
                segment.user_ids.take(to_arrow(segment.users_of(rows))).to_pylist(),
                segment.item_ids.take(to_arrow(segment.items[rows])).to_pylist(),
                segment.times[rows].tolist(),
                [segment.action_names[code] for code in segment.actions[rows].tolist()],
                segment.values_of(rows).tolist(),
                segment.countries_of(rows),
                segment.sessions_of(rows).tolist(),
                self.seqs(rows).tolist(),
                strict=True,
            )
        )

    def keyed_events(self, rows: NDArray[np.intp]) -> list[tuple[float, int, Event]]:
        """(time, sequence number, event) of ascending rows."""
        times, seqs = self.segment.times[rows].tolist(), self.seqs(rows).tolist()
        return list(zip(times, seqs, self.segment.events(rows), strict=True))


class LogView:
    """The event log in one transaction.

    Args:
        connection: in a transaction.
        folder: of the segments.

    Attributes:
        connection: for what else is read in the same transaction.
    """

    def __init__(self, connection: Connection, folder: SegmentFolder) -> None:
        from serendip.data.store import schema

        self.connection = connection
        self._folder, self._sql = folder, schema

    @cached_property
    def facts(self) -> list[SegmentFacts]:
        """The segments that count, as the database names them."""
        rows = self.connection.execute(self._sql.SEGMENT_FACTS)
        return [SegmentFacts(*row) for row in rows]

    def open_segments(self) -> list[Segment]:
        """The segments that count; their files are verified when a store opens them first."""
        log: str = self.connection.scalar(self._sql.META_VALUE, {"name": LOG_NAME_KEY}) or ""
        return self._folder.open_all(self.facts, log)

    def damaged(self) -> frozenset[str]:
        """Names of the segments that cannot be read; the others are open afterwards."""
        found = set()
        for facts in self.facts:
            try:
                self._folder.open(facts)
            except SegmentDamaged:
                found.add(facts.name)
        return frozenset(found)

    @cached_property
    def _segments(self) -> list[_Visible]:
        self.open_segments()
        return [self._visible(facts) for facts in self.facts]

    def _visible(self, facts: SegmentFacts) -> _Visible:
        """One segment; no other one is opened."""
        segment = self._folder.open(facts)
        hidden = self.hidden.get(facts.name, frozenset())
        if digests := self.waiting.get(facts.name):
            hidden |= self._find_users(segment, digests)
        return _Visible(segment, facts, hidden)

    def _visible_of(self, name: str) -> _Visible:
        return self._visible(next(facts for facts in self.facts if facts.name == name))

    @cached_property
    def hidden(self) -> dict[str, frozenset[int]]:
        """Segment -> numbers of the erased users in it, of the segments that have any."""
        return _grouped(self.connection.execute(self._sql.HIDDEN))

    @cached_property
    def waiting(self) -> dict[str, frozenset[str]]:
        """Segment -> digests of who was erased while it could not be read."""
        return _grouped(self.connection.execute(self._sql.WAITING))

    def waiting_in(self, name: str) -> dict[str, UserPlace]:
        """Id -> place in a segment, of who was erased while it could not be read.

        Nobody is in a segment that does not count.

        Raises:
            SegmentDamaged: it still cannot be read.
        """
        facts = next((facts for facts in self.facts if facts.name == name), None)
        if facts is None:
            return {}
        segment = self._folder.open(facts)
        numbers = sorted(self._find_users(segment, self.waiting[name]))
        return {segment.user_ids[one].as_py(): _place_of(segment, one) for one in numbers}

    def _find_users(self, segment: Segment, digests: frozenset[str]) -> frozenset[int]:
        secret = read_secret(self.connection)
        return self._folder.find_users(segment, digests, partial(digest_of, secret=secret))

    def items(self) -> Iterable[Any]:
        """Rows of the items that are not deleted, in order of first insertion."""
        return _stream(self.connection.execute(self._sql.ITEM_COLUMNS))

    def item_sizes(self) -> Iterable[Any]:
        """Id, title, number of characters and start of the items that are not deleted."""
        return _stream(self.connection.execute(self._sql.ITEM_SIZES))

    def position(self) -> LogPosition:
        """The position of the log."""
        keys = {"removals": REMOVALS_KEY, "imports": IMPORTS_KEY}
        tail, segments, removals, imports = self.connection.execute(
            self._sql.EVENT_MARK, keys
        ).one()
        return LogPosition(int(removals or 0), max(int(tail), int(segments)), int(imports or 0))

    def last_erasure(self) -> int:
        """Number of removals with which the last user was erased; 0 = none was."""
        return int(self.connection.scalar(self._sql.LAST_ERASURE) or 0)

    def count(self) -> int:
        """Number of events."""
        has_hidden = self.hidden or self.waiting
        hidden = sum(len(one.hidden_rows) for one in self._segments) if has_hidden else 0
        return self.count_recorded() - hidden

    def count_recorded(self) -> int:
        """Number of events, those of hidden users included; opens no segment."""
        return self.count_tail() + sum(facts.events for facts in self.facts)

    def count_tail(self) -> int:
        """Number of events of the tail."""
        return int(self.connection.scalar(self._sql.COUNT_EVENTS) or 0)

    def count_after(self, seq: int, without: Sequence[str] = ()) -> int:
        """Number of events appended after a sequence number, without some actions."""
        values = {"after": seq, "without": list(without)}
        count = int(self.connection.scalar(self._sql.COUNT_AFTER, values) or 0)
        if any(facts.last_seq > seq for facts in self.facts):
            count += sum(len(one.without(one.rows_after(seq), without)) for one in self._segments)
        return count

    def past(self, user_id: str, without: Sequence[str]) -> list[LogRow]:
        """A user's events in order of time, ties in order of arrival, without some actions."""
        values = {"user": user_id, "without": list(without)}
        rows = _log_rows(self.connection.execute(self._sql.PAST, values))
        older = [one.log_rows(one.rows_of(user_id, without)) for one in self._segments]
        return _in_order([rows, *older])

    def after(self, seq: int, with_imports: bool = True) -> list[LogRow]:
        """Events of all users appended after a sequence number, in order of time."""
        rows = _log_rows(self.connection.execute(self._sql.EVENTS_AFTER, {"after": seq}))
        newer = [
            facts
            for facts in self.facts
            if facts.last_seq > seq and (with_imports or facts.origin == self._sql.FROM_API)
        ]
        if not newer:
            return rows
        moved = map(self._visible, newer)
        return _in_order([rows, *(one.log_rows(one.rows_after(seq)) for one in moved)])

    def history(self, user_id: str, most: int, without: Sequence[str], since: float) -> list[Event]:
        """The last ``most`` events of a user from a time on, without some actions, oldest first."""
        values = {"user": user_id, "most": most, "without": list(without), "since": since}
        found = _keyed(self.connection.execute(self._sql.HISTORY, values))
        if most:
            for one in self._segments:
                rows = one.rows_of(user_id, without)[-most:]
                found += one.keyed_events(rows[one.segment.times[rows] >= since])
        return _newest(found, most)

    def requested(self, most: int) -> list[Event]:
        """The last ``most`` events that have a request id or a query, oldest first."""
        found = _keyed(self.connection.execute(self._sql.REQUESTED, {"most": most}))
        if most:
            for one in self._segments:
                rows = one.left(_requested_rows(one.segment))
                newest = np.lexsort((one.seqs(rows), one.segment.times[rows]))[-most:]
                found += one.keyed_events(np.sort(rows[newest]))
        return _newest(found, most)

    def queries(self, without: Sequence[str]) -> list[str]:
        """Distinct queries of events, without some actions, most frequent first."""
        rows = self.connection.execute(self._sql.QUERIES, {"without": list(without)})
        counts = Counter({query: count for query, count in rows})
        for one in self._segments:
            if "query" in one.segment.columns:
                codes, texts = read_codes(one.segment.table(["query"]), "query")
                rows_left = one.without(one.left(np.arange(len(codes))), without)
                found = np.bincount(codes[rows_left], minlength=len(texts)).tolist()
                counts.update(dict(zip(texts.to_pylist(), found, strict=True)))
        counts.pop("", None)
        used = [(query, count) for query, count in counts.items() if count]
        return [query for query, _ in sorted(used, key=lambda pair: (-pair[1], pair[0].encode()))]

    def columns(self) -> LogColumns:
        """The whole log as numbers."""
        parts = [
            LogPart.of_segment(one.segment, one.facts.first_seq, one.hidden)
            for one in self._segments
        ]
        names = self._sql.TAIL_COLUMN_NAMES
        tail = tabulate_rows(names, _stream(self.connection.execute(self._sql.TAIL_COLUMNS)))
        if len(tail):
            parts.append(LogPart.of_table(tail, np.asarray(tail["seq"], np.int64)))
        return LogColumns.join(parts)

    def table(self) -> pa.Table:
        """All events with all columns that any of them fills, in order of arrival."""
        import pyarrow as pa

        parts = [*(self.segment_table(facts) for facts in self.facts), self.tail()]
        filled = [part for part in parts if len(part)] or parts[-1:]
        joined = pa.concat_tables(filled, promote_options="default")
        ordered = joined.sort_by("seq").drop_columns(["seq"])
        return without_empty_columns(fill_missing(ordered))

    def tail(self) -> pa.Table:
        """The events of the tail in order of arrival, with their ``seq``."""
        names = (*self._sql.TAIL_NAMES, "seq")
        return tabulate_rows(names, _stream(self.connection.execute(self._sql.TAIL)))

    def segment_table(self, facts: SegmentFacts) -> pa.Table:
        """All columns of a segment's events, with their ``seq``, in order of user and time."""
        one = self._visible(facts)
        table = one.segment.table(one.segment.columns)
        table = table.append_column("seq", to_arrow(one.seqs(slice(None))))
        return table.take(to_arrow(np.flatnonzero(one.is_left))) if one.hidden else table

    def places_of_user(self, user_id: str, without: Collection[str]) -> list[UserPlace]:
        """Where a user has events, in all segments but those of some names."""
        places = []
        for one in (self._visible(facts) for facts in self.facts if facts.name not in without):
            number = one.segment.number_of(user_id)
            if number is not None and number not in one.hidden:
                places.append(_place_of(one.segment, number))
        return places

    def user_ids(self) -> set[str]:
        """Ids of all users who have events that are left."""
        found = set(self.connection.scalars(self._sql.TAIL_USERS))
        for one in self._segments:
            names = enumerate(one.segment.user_ids.to_pylist())
            found |= {name for number, name in names if number not in one.hidden}
        return found

    def users_of(self, segment: str) -> list[str]:
        """Ids of the users of a segment, by their numbers."""
        names: list[str] = self._visible_of(segment).segment.user_ids.to_pylist()
        return names

    def late_events(self, segment: str, erasures: Erasures) -> dict[int, tuple[int, int]]:
        """Number of a user in a segment -> how many events there happened before their erasure, and
        how many they have; of those with any.
        """
        one = self._visible_of(segment).segment
        found = {}
        for number, name in enumerate(one.user_ids.to_pylist()):
            if (erasure := erasures.find(name)) is not None:
                times = one.times[one.offsets[number] : one.offsets[number + 1]]
                if late := int(np.count_nonzero(times <= erasure.until)):
                    found[number] = (late, len(times))
        return found

    def has_event(self, event_id: str) -> bool:
        """Whether a segment has an event that was sent with this id."""
        return any(one.has_event(event_id) for one in self._segments)

    def api_event_ids(self) -> pa.Array:
        """Ids given by the senders of the events of the API, with and without compaction."""
        import pyarrow as pa

        in_tail = self.connection.scalars(self._sql.TAIL_IDS_AFTER, {"after": 0}).all()
        # An import replaces the others, damaged or not.
        facts = [one for one in self.facts if one.origin == self._sql.FROM_API]
        of_segments = [self._visible(one).event_ids() for one in facts]
        return pa.concat_arrays([pa.array(in_tail, "string"), *of_segments])

    def count_users(self, most: int, without: Sequence[str]) -> dict[str, int]:
        """The ``most`` active users with their number of events, without some actions."""
        import pyarrow as pa

        values = {"without": list(without)}
        if not self.facts:
            rows = self.connection.execute(self._sql.TOP_USERS, {**values, "most": most})
            return {user: int(count) for user, count in rows}
        parts = [tabulate_rows(_USERS, self.connection.execute(self._sql.USERS, values))]
        for one in self._segments:
            counts = to_arrow(one.counts_by_user(without))
            users = one.segment.user_ids.dictionary_encode()
            parts.append(pa.table({"user_id": users, "events": counts}))
        counted = pa.concat_tables([part.cast(_users_schema()) for part in parts])
        summed = counted.group_by("user_id").aggregate([("events", "sum")])
        order = [("events_sum", "descending"), ("user_id", "ascending")]
        top = summed.sort_by(order).slice(0, max(most, 0))
        pairs = zip(top["user_id"].to_pylist(), top["events_sum"].to_pylist(), strict=True)
        return {user: count for user, count in pairs if count > 0}

    def count_users_after(
        self, seq: int, most: int, without: Sequence[str]
    ) -> dict[str, int] | None:
        """Users with events appended after a sequence number; None if there are too many."""
        values = {"after": seq, "without": list(without), "most": most + 1}
        counts = Counter(dict(self._pairs(self._sql.USERS_AFTER, values)))
        if any(facts.last_seq > seq for facts in self.facts):
            for one in self._segments:
                rows = one.without(one.rows_after(seq), without)
                users = to_arrow(one.segment.users_of(rows))
                counts.update(one.segment.user_ids.take(users).to_pylist())
        return None if len(counts) > most else counts

    def count_users_among(self, user_ids: Sequence[str], without: Sequence[str]) -> dict[str, int]:
        """Number of events of some users, without some actions; only users who have any."""
        values = {"users": list(user_ids), "without": list(without)}
        counts = Counter(dict(self._pairs(self._sql.USERS_AMONG, values)))
        for one in self._segments:
            counts.update({user: len(one.rows_of(user, without)) for user in user_ids})
        return {user: count for user, count in counts.items() if count}

    def _pairs(self, statement: Any, values: dict[str, Any]) -> Iterable[tuple[str, int]]:
        return ((row[0], int(row[1])) for row in self.connection.execute(statement, values))


def read_log(database: Database, folder: SegmentFolder, read: Callable[[LogView], T]) -> T:
    """Read the log within one transaction.

    A segment that was replaced after the transaction began may be gone before it is opened; then a
    new transaction sees its replacement.

    Raises:
        StorageError: a segment that counts is missing or damaged.
    """
    for _ in range(_TRIES - 1):
        try:
            with database.read() as connection:
                return read(LogView(connection, folder))
        except SegmentMissing:
            continue
    with database.read() as connection:
        return read(LogView(connection, folder))


_USERS = ("user_id", "events")


def _place_of(segment: Segment, number: int) -> UserPlace:
    """Where a user of a segment has events; those of each user are in order of time."""
    start, stop = segment.offsets[number : number + 2].tolist()
    return UserPlace(segment.name, number, stop - start, float(segment.times[stop - 1]))


def _grouped(rows: Iterable[Any]) -> dict[str, frozenset[Any]]:
    """Segment -> what the rows have of it."""
    found = defaultdict(set)
    for segment, value in rows:
        found[segment].add(value)
    return {segment: frozenset(values) for segment, values in found.items()}


def _users_schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([("user_id", "string"), ("events", "int64")])


def _stream(result: CursorResult[Any]) -> Iterator[Any]:
    """The rows of a large result, fetched by the thousand."""
    for part in result.partitions(_FETCHED):
        yield from part


def _log_rows(rows: Iterable[Any]) -> list[LogRow]:
    return [(*row[:-2], session_code(row[-2]), row[-1]) for row in rows]


def _in_order(parts: Sequence[list[LogRow]]) -> list[LogRow]:
    """All rows by time, ties by sequence number."""
    filled = [part for part in parts if part]
    if len(filled) < 2 and filled:
        return filled[0] if filled[0] is parts[0] else sorted(filled[0], key=_moment)
    return sorted((row for part in filled for row in part), key=_moment)


def _moment(row: LogRow) -> tuple[float, int]:
    return row[2], row[-1]


def _keyed(rows: Iterable[Any]) -> list[tuple[float, int, Event]]:
    """(time, sequence number, event) of rows of the tail."""
    return [(row[2], row[-1], Event(*row[:-1])) for row in rows]


def _newest(found: list[tuple[float, int, Event]], most: int) -> list[Event]:
    ordered = sorted(found, key=lambda one: one[:2])
    return [event for _, _, event in ordered[-most:]] if most else []


def _requested_rows(segment: Segment) -> NDArray[np.intp]:
    """Rows of events that have a request id or a query."""
    named = [name for name in ("query", "request_id") if name in segment.columns]
    if not named:
        return np.empty(0, np.intp)
    table = segment.table(named)
    given = np.zeros(len(segment), np.bool_)
    for name in named:
        codes, texts = read_codes(table, name)
        given |= np.array([bool(text) for text in texts.to_pylist()], np.bool_)[codes]
    return np.flatnonzero(given)
