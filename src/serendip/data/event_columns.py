"""The whole event log as columns: how snapshots and checks read a store quickly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import TimeArray
from serendip.data.event import Event

_NAMES = ("user_id", "item_id", "timestamp", "action", "value")


@dataclass(frozen=True, slots=True, eq=False)
class EventColumns:
    """Events in order of time; ties in order of arrival.

    Args:
        user_ids: E external ids.
        item_ids: E external ids; empty for a query without a click.
        timestamps: (E,) float64 Unix seconds, non-decreasing.
        actions: E kinds of interaction.
        values: (E,) float64, NaN where an event has none.
    """

    user_ids: Sequence[str]
    item_ids: Sequence[str]
    timestamps: TimeArray
    actions: Sequence[str]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.user_ids)

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[Any]]) -> Self:
        """From (user_id, item_id, timestamp, action, value) rows in order of time."""
        users, items, times, actions, values = zip(*rows, strict=True) if rows else ((),) * 5
        return cls(
            users,
            items,
            np.array(times, dtype=np.float64),
            actions,
            np.array([np.nan if value is None else value for value in values], dtype=np.float64),
        )

    @classmethod
    def of_events(cls, events: Iterable[Event]) -> Self:
        """From events in any order."""
        ordered = sorted(events, key=lambda event: event.timestamp)
        return cls.of_rows([[getattr(event, name) for name in _NAMES] for event in ordered])

    def rows(self, rows: Sequence[int]) -> EventColumns:
        """Some of the events, by ascending row."""
        return EventColumns(
            [self.user_ids[row] for row in rows],
            [self.item_ids[row] for row in rows],
            self.timestamps[rows],
            [self.actions[row] for row in rows],
            self.values[rows],
        )
