"""The event log as one transaction sees it: the packs that count, and the tail.

Packing moves events from the tail to a pack within one transaction, so that every reader meets each
event once, whatever happens meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from serendip.data.events.event import Event, session_code
from serendip.data.log.columns import LogColumns, LogPart
from serendip.data.log.event_table import (
    fill_missing,
    tabulate_rows,
    without_empty_columns,
)
from serendip.data.rows.arrow import to_arrow
from serendip.data.store.event_log.packs import (
    TEXTS,
    LogRow,
    PackedEvents,
    PackFacts,
    PackNames,
    decode_names,
    hash_ids,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray
    from sqlalchemy import Connection, CursorResult

    from serendip.data.store.database import Database

T = TypeVar("T")

REMOVALS_KEY, IMPORTS_KEY = "event removals", "event imports"
"""Keys of the meta table: numbers of imports and erasures, and of these imports."""

EVENT_IDS = "event_id"
"""Name, among those of a pack, of the hashes of the ids that senders gave."""

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
    """Events of a user in one pack.

    Args:
        pack: its number.
        events: number of events.
        newest: Unix seconds of the last of them.
    """

    pack: int
    events: int
    newest: float


class StoredLog:
    """The event log of one database, with the packs' names in memory; thread-safe.

    Args:
        database: of the log.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.names: dict[int, PackNames] = {}

    def read(self, read: Callable[[LogView], T]) -> T:
        """Read within one transaction."""
        with self.database.read() as connection:
            return read(LogView(connection, self))


class LogView:
    """The event log in one transaction.

    Args:
        connection: in a transaction.
        log: that is read.

    Attributes:
        connection: for what else is read in the same transaction.
    """

    def __init__(self, connection: Connection, log: StoredLog) -> None:
        from serendip.data.store import schema

        self.connection = connection
        self._log, self._sql = log, schema

    @cached_property
    def packs(self) -> list[PackFacts]:
        """The packs that count; names of others, and of those that changed, are forgotten."""
        found = [PackFacts.of_row(row) for row in self.connection.execute(self._sql.PACK_FACTS)]
        names = self._log.names
        known = ((one, names.get(one.number)) for one in found)
        self._log.names = {
            one.number: shared
            for one, shared in known
            if shared is not None and shared.facts == one
        }
        return found

    def names_of(self, pack: int) -> PackNames:
        """What the events of a pack share."""
        known = self._log.names.get(pack)
        if known is None:
            facts = next(one for one in self.packs if one.number == pack)
            rows = self.connection.execute(self._sql.NAMES_OF_PACK, {"number": pack})
            found = {name: (count, content) for name, count, content in rows}
            _, hashes = found.pop(EVENT_IDS, (0, b""))
            names = {name: decode_names(content, n) for name, (n, content) in found.items()}
            known = PackNames(facts, names, np.frombuffer(hashes, np.uint64))
            self._log.names = {**self._log.names, pack: known}
        return known

    def rows_of_pack(
        self,
        facts: PackFacts,
        statement: Any,
        texts: Sequence[str] = (),
        values: dict[str, Any] | None = None,
    ) -> Iterator[PackedEvents]:
        """Events of a pack, users by the thousand.

        Args:
            facts: of the pack.
            statement: selects rows of it, with some texts.
            texts: names of these, in their order.
            values: of the statement, besides the number of the pack.
        """
        found = self.connection.execute(statement, {"number": facts.number, **(values or {})})
        for rows in found.partitions(_FETCHED):
            yield PackedEvents.of_rows(self.names_of(facts.number), rows, texts)

    def _of_user(
        self, statement: Any, user_id: str, texts: Sequence[str] = ()
    ) -> Iterator[PackedEvents]:
        """What each pack has of a user."""
        for pack, *row in self.connection.execute(statement, {"user": user_id}).all():
            yield PackedEvents.of_rows(self.names_of(pack), [row], texts)

    def events_of(self, user_id: str, pack: int) -> PackedEvents:
        """All columns of the events of a user in a pack that has any."""
        rows = self.connection.execute(self._sql.ROWS_OF_USER, {"user": user_id}).all()
        row = next(row for row in rows if row[0] == pack)
        return PackedEvents.of_rows(self.names_of(pack), [row[1:]], TEXTS)

    def items(self) -> Iterable[Any]:
        """Rows of the items that are not deleted, in order of first insertion."""
        return _stream(self.connection.execute(self._sql.ITEM_COLUMNS))

    def item_sizes(self) -> Iterable[Any]:
        """Id, title, number of characters and start of the items that are not deleted."""
        return _stream(self.connection.execute(self._sql.ITEM_SIZES))

    def position(self) -> LogPosition:
        """The position of the log."""
        keys = {"removals": REMOVALS_KEY, "imports": IMPORTS_KEY}
        tail, packed, removals, imports = self.connection.execute(self._sql.EVENT_MARK, keys).one()
        return LogPosition(int(removals or 0), max(int(tail), int(packed)), int(imports or 0))

    def last_erasure(self) -> int:
        """Number of removals with which the last user was erased; 0 = none was."""
        return int(self.connection.scalar(self._sql.LAST_ERASURE) or 0)

    def count(self) -> int:
        """Number of events."""
        return self.count_tail() + sum(one.events for one in self.packs)

    def count_tail(self) -> int:
        """Number of events of the tail."""
        return int(self.connection.scalar(self._sql.COUNT_EVENTS) or 0)

    def count_after(self, seq: int, without: Sequence[str] = ()) -> int:
        """Number of events appended after a sequence number, without some actions."""
        values = {"after": seq, "without": list(without)}
        count = int(self.connection.scalar(self._sql.COUNT_AFTER, values) or 0)
        packed = self._packed_after(seq)
        return count + sum(int(part.is_counted(without).sum()) for part in packed)

    def _packed_after(self, seq: int, with_imports: bool = True) -> Iterator[PackedEvents]:
        for facts in self.packs:
            if facts.last_seq > seq and (with_imports or facts.origin == self._sql.FROM_API):
                after = {"after": seq - facts.first_seq}
                found = self.rows_of_pack(facts, self._sql.RECORDS_AFTER, values=after)
                yield from (part.select(part.seqs > seq) for part in found)

    def past(self, user_id: str, without: Sequence[str]) -> list[LogRow]:
        """A user's events in order of time, ties in order of arrival, without some actions."""
        values = {"user": user_id, "without": list(without)}
        rows = _log_rows(self.connection.execute(self._sql.PAST, values))
        packed = self._of_user(self._sql.RECORDS_OF_USER, user_id)
        older = [row for part in packed for row in part.log_rows() if row[3] not in without]
        return _in_order([older, rows])

    def after(self, seq: int, with_imports: bool = True) -> list[LogRow]:
        """Events of all users appended after a sequence number, in order of time."""
        rows = _log_rows(self.connection.execute(self._sql.EVENTS_AFTER, {"after": seq}))
        return _in_order([*(p.log_rows() for p in self._packed_after(seq, with_imports)), rows])

    def history(self, user_id: str, most: int, without: Sequence[str], since: float) -> list[Event]:
        """The last ``most`` events of a user from a time on, without some actions, oldest first."""
        values = {"user": user_id, "most": most, "without": list(without), "since": since}
        found = _keyed(self.connection.execute(self._sql.HISTORY, values))
        for part in self._of_user(self._sql.ROWS_OF_USER, user_id, TEXTS):
            is_wanted = part.is_counted(without) & (part.records["timestamp"] >= since)
            rows = np.flatnonzero(is_wanted)[-most:] if most else np.empty(0, np.intp)
            found += part.select(_mask(rows, len(part))).keyed_events()
        return _newest(found, most)

    def requested(self, most: int) -> list[Event]:
        """The last ``most`` events that have a request id or a query, oldest first."""
        found = _keyed(self.connection.execute(self._sql.REQUESTED, {"most": most}))
        if most:
            since = self._find_time_of_asked(most)
            for facts in self.packs:
                for part in self.rows_of_pack(facts, self._sql.ASKED, TEXTS):
                    wanted = _is_asked(part) & (part.records["timestamp"] >= since)
                    found += part.select(wanted).keyed_events()
        return _newest(found, most)

    def _find_time_of_asked(self, most: int) -> float:
        """Unix seconds of the ``most``-th newest packed event with a request id or a query."""
        texts = ("query", "request_id")
        times = [
            part.records["timestamp"][_is_asked(part)]
            for facts in self.packs
            for part in self.rows_of_pack(facts, self._sql.ASKED_TEXTS, texts)
        ]
        joined = np.concatenate([np.empty(0), *times])
        if len(joined) <= most:
            return -np.inf
        return float(np.partition(joined, len(joined) - most)[len(joined) - most])

    def queries(self, without: Sequence[str]) -> list[str]:
        """Distinct queries of events, without some actions, most frequent first."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = self.connection.execute(self._sql.QUERIES, {"without": list(without)})
        counts = Counter({query: count for query, count in rows})
        for facts in self.packs:
            for part in self.rows_of_pack(facts, self._sql.QUERIES_OF_PACK, ["query"]):
                texts = part.texts["query"].filter(pa.array(part.is_counted(without).tolist()))
                for one in pc.value_counts(texts).to_pylist():
                    counts[one["values"]] += one["counts"]
        counts.pop("", None)
        ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0].encode()))
        return [query for query, _ in ordered]

    def columns(self) -> LogColumns:
        """The whole log as numbers."""
        parts = [part.part() for facts in self.packs if (part := self._records(facts)) is not None]
        names = self._sql.TAIL_COLUMN_NAMES
        tail = tabulate_rows(names, _stream(self.connection.execute(self._sql.TAIL_COLUMNS)))
        if len(tail):
            parts.append(LogPart.of_table(tail, np.asarray(tail["seq"], np.int64)))
        return LogColumns.join(parts)

    def _records(self, facts: PackFacts) -> PackedEvents | None:
        """A whole pack without its texts; None if nobody is left in it."""
        rows = self.connection.execute(self._sql.RECORDS, {"number": facts.number}).all()
        return PackedEvents.of_rows(self.names_of(facts.number), rows, ()) if rows else None

    def table(self) -> pa.Table:
        """All events with all columns that any of them fills, in order of arrival."""
        import pyarrow as pa

        parts = [*(self.pack_table(facts) for facts in self.packs), self.tail()]
        filled = [part for part in parts if len(part)] or parts[-1:]
        joined = pa.concat_tables(filled, promote_options="default")
        ordered = joined.sort_by("seq").drop_columns(["seq"])
        return without_empty_columns(fill_missing(ordered))

    def tail(self, most: int = 2**31 - 1) -> pa.Table:
        """The first events of the tail in order of arrival, with their ``seq``."""
        names = (*self._sql.TAIL_NAMES, "seq")
        rows = self.connection.execute(self._sql.TAIL, {"most": most})
        return tabulate_rows(names, _stream(rows))

    def pack_table(self, facts: PackFacts) -> pa.Table:
        """All columns of a pack's events, with their ``seq``, in order of user and time."""
        import pyarrow as pa

        tables = [part.table() for part in self.rows_of_pack(facts, self._sql.ROWS, TEXTS)]
        return fill_missing(pa.concat_tables(tables)) if tables else pa.table({})

    def places_of_user(self, user_id: str) -> list[UserPlace]:
        """Where a user has events, in all packs."""
        rows = self.connection.execute(self._sql.PLACES_OF_USER, {"user": user_id})
        return [UserPlace(*row) for row in rows]

    def user_ids(self) -> set[str]:
        """Ids of all users who have events."""
        tail = self.connection.scalars(self._sql.TAIL_USERS)
        return {*tail, *self.connection.scalars(self._sql.PACKED_USERS)}

    def users_of(self, pack: int) -> list[str]:
        """Ids of the users of a pack."""
        return list(self.connection.scalars(self._sql.USERS_OF_PACK, {"number": pack}))

    def has_event(self, event_id: str) -> bool:
        """Whether a pack has an event that was sent with this id."""
        (wanted,) = hash_ids([event_id])
        return any(_contains(self.names_of(one.number).event_ids, wanted) for one in self.packs)

    def api_event_ids(self) -> NDArray[np.uint64]:
        """Hashes of the ids that senders gave events of the API, in the tail and in packs."""
        in_tail = self.connection.scalars(self._sql.TAIL_IDS_AFTER, {"after": 0})
        # An import replaces the others.
        packs = [one for one in self.packs if one.origin == self._sql.FROM_API]
        hashes = [self.names_of(one.number).event_ids for one in packs]
        return np.concatenate([hash_ids(in_tail), *hashes])

    def count_users(self, most: int, without: Sequence[str]) -> dict[str, int]:
        """The ``most`` active users with their number of events, without some actions."""
        import pyarrow as pa

        values = {"without": list(without)}
        if not self.packs:
            rows = self.connection.execute(self._sql.TOP_USERS, {**values, "most": most})
            return {user: int(count) for user, count in rows}
        parts = [tabulate_rows(_USERS, self.connection.execute(self._sql.USERS, values))]
        for facts in self.packs:
            if (part := self._records(facts)) is not None:
                users = pa.array(part.user_ids, "string").dictionary_encode()
                counts = to_arrow(part.count_by_user(without))
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
        for part in self._packed_after(seq):
            counts.update(
                dict(zip(part.user_ids, part.count_by_user(without).tolist(), strict=True))
            )
        used = {user: count for user, count in counts.items() if count}
        return None if len(used) > most else used

    def count_users_among(self, user_ids: Sequence[str], without: Sequence[str]) -> dict[str, int]:
        """Number of events of some users, without some actions; only users who have any."""
        values = {"users": list(user_ids), "without": list(without)}
        counts = Counter(dict(self._pairs(self._sql.USERS_AMONG, values)))
        for user in user_ids:
            for part in self._of_user(self._sql.RECORDS_OF_USER, user):
                counts[user] += int(part.is_counted(without).sum())
        return {user: count for user, count in counts.items() if count}

    def _pairs(self, statement: Any, values: dict[str, Any]) -> Iterable[tuple[str, int]]:
        return ((row[0], int(row[1])) for row in self.connection.execute(statement, values))


_USERS = ("user_id", "events")


def _users_schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema([("user_id", "string"), ("events", "int64")])


def _contains(hashes: NDArray[np.uint64], wanted: np.uint64) -> bool:
    place = int(np.searchsorted(hashes, wanted))
    return place < len(hashes) and bool(hashes[place] == wanted)


def _is_asked(part: PackedEvents) -> NDArray[np.bool_]:
    """(E,) True for events with a request id or a query."""
    import pyarrow.compute as pc

    sizes = [np.asarray(pc.binary_length(part.texts[name])) for name in ("query", "request_id")]
    return np.logical_or(sizes[0] > 0, sizes[1] > 0)


def _mask(rows: NDArray[np.intp], size: int) -> NDArray[np.bool_]:
    mask = np.zeros(size, np.bool_)
    mask[rows] = True
    return mask


def _stream(result: CursorResult[Any]) -> Iterator[Any]:
    """The rows of a large result, fetched by the thousand."""
    for part in result.partitions(_FETCHED):
        yield from part


def _log_rows(rows: Iterable[Any]) -> list[LogRow]:
    return [(*row[:-2], session_code(row[-2]), row[-1]) for row in rows]


def _in_order(parts: Iterable[list[LogRow]]) -> list[LogRow]:
    """All rows by time, ties by sequence number."""
    return sorted((row for part in parts for row in part), key=lambda row: (row[2], row[-1]))


def _keyed(rows: Iterable[Any]) -> list[tuple[float, int, Event]]:
    """(time, sequence number, event) of rows of the tail."""
    return [(row[2], row[-1], Event(*row[:-1])) for row in rows]


def _newest(found: list[tuple[float, int, Event]], most: int) -> list[Event]:
    ordered = sorted(found, key=lambda one: one[:2])
    return [event for _, _, event in ordered[-most:]] if most else []
