"""The whole event log as numbers: snapshots and checks read no text per event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray, TimeArray
from serendip.data.events.event import NO_SESSION, session_code
from serendip.data.log.event_table import read_codes, read_numbers

if TYPE_CHECKING:
    import pyarrow as pa


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
    def of_tables(cls, tables: Sequence[pa.Table], name: str) -> Self:
        """A column of several tables, which some may lack."""
        import pyarrow as pa

        parts = [
            read_codes(table, name)
            if name in table.column_names
            else (np.zeros(len(table), np.int32), pa.array([""], "string"))
            for table in tables
        ]
        if len(parts) == 1:
            codes, names = parts[0]
            return cls(codes, names.to_pylist())
        encoded = pa.concat_arrays([names for _, names in parts]).dictionary_encode()
        numbers = np.asarray(encoded.indices, np.int32)
        ends = np.cumsum([len(names) for _, names in parts]).tolist()
        joined = [
            numbers[end - len(names) : end][codes]
            for (codes, names), end in zip(parts, ends, strict=True)
        ]
        return cls(np.concatenate(joined), encoded.dictionary.to_pylist())

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
    def of_tables(cls, tables: Sequence[pa.Table]) -> Self:
        """Join the parts of a log.

        Args:
            tables: see ``event_table``, with ``seq``; a part may have ``session``, numbers, in
                place of ``session_id``, and lacks columns that none of its events fills.
        """
        tables = [table for table in tables if len(table)]
        if not tables:
            return cls(*(np.empty(0, np.int32),) * 3, *(np.empty(0),) * 2, (), (), ())
        seqs = np.concatenate([np.asarray(table["seq"], np.int64) for table in tables])
        times = np.concatenate([np.asarray(table["timestamp"]) for table in tables])
        order = _order(seqs, times)
        present = {name for table in tables for name in table.column_names}
        users, items, actions, countries, devices = (
            LogTexts.of_tables(tables, name).rows(order)
            for name in ("user_id", "item_id", "action", "country", "device")
        )
        values = np.broadcast_to(np.float64(np.nan), len(order))
        if "value" in present:
            values = np.concatenate([read_numbers(table, "value") for table in tables])[order]
        sessions = None
        if present & {"session", "session_id"}:
            sessions = np.concatenate([_sessions(table) for table in tables])[order]
        return cls(
            *(users.codes, items.codes, actions.codes, times[order], values),
            *(users.names, items.names, actions.names),
            countries if "country" in present else None,
            devices if "device" in present else None,
            sessions,
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


def _order(numbers: NDArray[np.int64], times: TimeArray) -> NDArray[np.intp]:
    """Rows in order of time, ties by sequence number."""
    lowest = int(numbers.min())
    span = int(numbers.max()) - lowest + 1
    if span <= 4 * len(numbers):  # nearly without gaps: each row goes to its own place
        places = np.full(span, -1, np.int64)
        places[numbers - lowest] = np.arange(len(numbers))
        order = places[places >= 0]
    else:
        order = np.argsort(numbers)
    ordered = times[order]
    if (ordered[1:] >= ordered[:-1]).all():
        return order
    return order[np.argsort(ordered, kind="stable")]


def _sessions(table: pa.Table) -> NDArray[np.int64]:
    """(E,) ``session_code`` of the events of a part of a log."""
    if "session" in table.column_names:
        return np.asarray(table["session"], np.int64)
    if "session_id" in table.column_names:
        return number_sessions(*read_codes(table, "session_id"))
    return np.full(len(table), NO_SESSION)
