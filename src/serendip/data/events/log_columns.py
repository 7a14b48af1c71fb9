"""The whole event log as numbers: snapshots and checks read no text per event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray, TimeArray, rank_by_first
from serendip.data.events.event import NO_SESSION, session_code
from serendip.data.events.event_table import read_codes, read_numbers

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
    def of_table(cls, table: pa.Table) -> Self:
        """Read a log in order of time: an ``event_table`` with ``seq``, and ``session`` codes."""
        if not len(table):
            return cls(*(np.empty(0, np.int32),) * 3, *(np.empty(0),) * 2, (), (), ())
        times = np.asarray(table["timestamp"])
        order = _order(np.asarray(table["seq"], np.int64), times)

        def read(name: str) -> LogTexts:
            codes, names = read_codes(table, name)
            return LogTexts(codes[order], names.to_pylist())

        present = set(table.column_names)
        users, items, actions = map(read, ("user_id", "item_id", "action"))
        values = np.broadcast_to(np.float64(np.nan), len(order))
        return cls(
            *(users.codes, items.codes, actions.codes, times[order]),
            read_numbers(table, "value")[order] if "value" in present else values,
            *(users.names, items.names, actions.names),
            read("country") if "country" in present else None,
            read("device") if "device" in present else None,
            read_sessions(table)[order] if present & {"session", "session_id"} else None,
        )


def _order(numbers: NDArray[np.int64], times: TimeArray) -> NDArray[np.intp]:
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


def read_sessions(table: pa.Table) -> NDArray[np.int64]:
    """(E,) ``session_code`` of events, from ``session`` where they are numbers already."""
    import pyarrow.compute as pc

    if "session_id" in table.column_names:
        codes, names = read_codes(table, "session_id")
        numbers: NDArray[np.int64] = np.array(list(map(session_code, names.to_pylist())), np.int64)
        return numbers[codes]
    return np.asarray(pc.fill_null(table["session"], NO_SESSION), np.int64)
