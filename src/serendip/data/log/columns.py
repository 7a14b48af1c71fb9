"""The whole event log as numbers: snapshots and checks read no text per event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray, TimeArray
from serendip.data.events.event import NO_SESSION, session_code
from serendip.data.log.event_table import read_codes, read_numbers

if TYPE_CHECKING:
    import pyarrow as pa


Texts: TypeAlias = "tuple[IntArray, pa.StringArray]"
"""(E,) int32 codes of the texts of E events, and the texts that they are indices into."""


@dataclass(frozen=True, slots=True, eq=False)
class LogTexts:
    """A column of texts of a log, such as countries.

    Args:
        codes: (E,) int32 indices into ``names``.
        names: each once; empty = an event without one.
    """

    codes: IntArray
    names: Sequence[str]

    @classmethod
    def join(cls, parts: Sequence[Texts | None], sizes: Sequence[int]) -> Self | None:
        """Join the columns of several parts of a log; None if no part has one."""
        import pyarrow as pa

        if all(part is None for part in parts):
            return None
        without = pa.array([""], "string")
        filled = [
            (np.zeros(size, np.int32), without) if part is None else part
            for part, size in zip(parts, sizes, strict=True)
        ]
        return cls(*_unify(filled))

    def rows(self, rows: NDArray[np.integer[Any]]) -> LogTexts:
        """Select events."""
        return LogTexts(self.codes[rows], self.names)

    def known(self) -> tuple[IntArray, tuple[str, ...]]:
        """(E,) int32 codes by first appearance, -1 for no text, and the texts that appear."""
        codes, used = rank_by_first(self.codes, len(self.names))
        names = [self.names[code] for code in used.tolist()]
        if "" not in names:
            return codes, tuple(names)
        none = names.index("")
        found = np.where(codes == none, -1, codes - (codes > none)).astype(np.int32)
        return found, tuple(name for name in names if name)


@dataclass(frozen=True, slots=True, eq=False)
class LogPart:
    """Events of one pack or of the tail, in any order.

    Args:
        users: (E,) int32 indices into ``user_ids``; items and actions likewise.
        times: (E,) float64 Unix seconds.
        values: (E,) float64, NaN where an event has none; None = no event has one.
        seqs: (E,) int64 sequence numbers.
        countries: of the events; None = no event has one. Devices likewise.
        sessions: (E,) int64 ``session_code``; None = no event has one.
    """

    users: IntArray
    user_ids: pa.StringArray
    items: IntArray
    item_ids: pa.StringArray
    actions: IntArray
    action_names: pa.StringArray
    times: TimeArray
    values: TimeArray | None
    seqs: NDArray[np.int64]
    countries: Texts | None
    devices: Texts | None
    sessions: NDArray[np.int64] | None = None

    @classmethod
    def of_table(cls, table: pa.Table, seqs: NDArray[np.int64]) -> Self:
        """All events of a table, see ``event_table``."""
        columns = [read_codes(table, name) for name in ("user_id", "item_id", "action")]
        (users, user_ids), (items, item_ids), (actions, action_names) = columns
        has_values = "value" in table.column_names and table["value"].null_count < len(table)
        return cls(
            *(users, user_ids, items, item_ids, actions, action_names),
            read_numbers(table, "timestamp"),
            read_numbers(table, "value") if has_values else None,
            seqs,
            _texts(table, "country"),
            _texts(table, "device"),
            None if (found := _texts(table, "session_id")) is None else number_sessions(*found),
        )


@dataclass(frozen=True, slots=True, eq=False)
class LogColumns:
    """All events in order of time, ties in order of arrival.

    Args:
        users: (E,) int32 indices into ``user_ids``.
        items: (E,) int32 indices into ``item_ids``.
        actions: (E,) int32 indices into ``action_names``.
        timestamps: (E,) float64 Unix seconds, non-decreasing.
        values: (E,) float64, NaN where an event has none.
        user_ids: ids of the users, each once.
        item_ids: ids of the items, each once; empty for a query without a click.
        action_names: kinds of interaction, each once.
        countries: of the events; None = no event has one. Devices likewise.
        sessions: (E,) int64 ``session_code``; None = no event has one.
    """

    users: IntArray
    items: IntArray
    actions: IntArray
    timestamps: TimeArray
    values: TimeArray
    user_ids: Sequence[str]
    item_ids: Sequence[str]
    action_names: Sequence[str]
    countries: LogTexts | None = None
    devices: LogTexts | None = None
    sessions: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def join(cls, parts: Sequence[LogPart]) -> Self:
        """Join the parts of a log."""
        parts = [part for part in parts if len(part.users)]
        if not parts:
            return cls(*(np.empty(0, np.int32),) * 3, *(np.empty(0),) * 2, (), (), ())
        order = _order([part.seqs for part in parts], [part.times for part in parts])
        users, user_ids = _unify([(part.users, part.user_ids) for part in parts])
        users = users[order]
        items, item_ids = _unify([(part.items, part.item_ids) for part in parts])
        items = items[order]
        actions, action_names = _unify([(part.actions, part.action_names) for part in parts])
        times = np.concatenate([part.times for part in parts])[order]
        if all(part.values is None for part in parts):
            values = np.broadcast_to(np.float64(np.nan), len(order))
        else:
            given = [_values(part) for part in parts]
            values = np.concatenate(given)[order]
        sizes = [len(part.users) for part in parts]
        countries = LogTexts.join([part.countries for part in parts], sizes)
        devices = LogTexts.join([part.devices for part in parts], sizes)
        return cls(
            *(users, items, actions[order], times, values, user_ids, item_ids, action_names),
            None if countries is None else countries.rows(order),
            None if devices is None else devices.rows(order),
            _join_sessions(parts, order),
        )


def number_sessions(codes: IntArray, names: pa.StringArray) -> NDArray[np.int64]:
    """(E,) ``session_code`` of texts (E,), given by codes and what they are indices into."""
    numbers: NDArray[np.int64] = np.array(list(map(session_code, names.to_pylist())), np.int64)
    return numbers[codes]


def rank_by_first(codes: IntArray, count: int) -> tuple[IntArray, IntArray]:
    """Renumber codes by their first appearance.

    Args:
        codes: (E,) in [0, count).
        count: number of different codes.

    Returns:
        (E,) the new codes, and the (P,) old codes by new one: only those that appear.
    """
    first = np.full(count, len(codes), np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of equal codes the last write counts
    ordered = np.argsort(first, kind="stable")[: int((first < len(codes)).sum())]
    ranks = np.zeros(count, np.int32)
    ranks[ordered] = np.arange(len(ordered))
    return ranks[codes], ordered.astype(np.int32)


def _order(seqs: Sequence[NDArray[np.int64]], times: Sequence[TimeArray]) -> NDArray[np.intp]:
    """Rows in order of time, ties by sequence number."""
    numbers = np.concatenate(seqs)
    lowest = int(numbers.min())
    span = int(numbers.max()) - lowest + 1
    if span <= 4 * len(numbers):  # nearly without gaps: each row goes to its own place
        places = np.full(span, -1, np.int64)
        places[numbers - lowest] = np.arange(len(numbers))
        order = places[places >= 0]
    else:
        order = np.argsort(numbers)
    ordered: TimeArray = np.concatenate(times)[order]
    if (ordered[1:] >= ordered[:-1]).all():
        return order
    return order[np.argsort(ordered, kind="stable")]


def _unify(columns: Sequence[tuple[IntArray, pa.StringArray]]) -> tuple[IntArray, Sequence[str]]:
    """Codes of several parts as codes of one vocabulary."""
    import pyarrow as pa

    if len(columns) == 1:
        codes, names = columns[0]
        return codes, names.to_pylist()
    encoded = pa.concat_arrays([names for _, names in columns]).dictionary_encode()
    numbers = np.asarray(encoded.indices, np.int32)
    ends = np.cumsum([len(names) for _, names in columns])
    parts = [
        numbers[end - len(names) : end][codes]
        for (codes, names), end in zip(columns, ends.tolist(), strict=True)
    ]
    return np.concatenate(parts), encoded.dictionary.to_pylist()


def _texts(table: pa.Table, name: str) -> Texts | None:
    """A column of texts; None if no event has one."""
    if name not in table.column_names:
        return None
    codes, names = read_codes(table, name)
    return (codes, names) if any(names.to_pylist()[:2]) else None


def _join_sessions(parts: Sequence[LogPart], order: NDArray[np.intp]) -> NDArray[np.int64] | None:
    if all(part.sessions is None for part in parts):
        return None
    given = [
        np.full(len(part.users), NO_SESSION) if part.sessions is None else part.sessions
        for part in parts
    ]
    return np.concatenate(given)[order]


def _values(part: LogPart) -> TimeArray:
    return np.full(len(part.users), np.nan) if part.values is None else part.values
