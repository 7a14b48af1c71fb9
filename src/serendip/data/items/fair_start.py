"""Fair start: when each item appeared, how often it was shown since, and what was promised to it.

An item appears when it becomes available; without such a time, with its first event in the log, an
impression or any other. One that has no event yet is as new as can be. ``Promise`` says how many
impressions every item gets in its first days; an item that is new and has had fewer is owed some.

Shapes: N items, C some of them, E events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, BoolArray, IntArray, TimeArray
from serendip.data.dataset import Dataset
from serendip.data.rows.growing_rows import append_rows, replace_rows
from serendip.errors import ArtefactError

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Promise:
    """Impressions that every item gets in its first days.

    Args:
        impressions: their number; 0 = nothing is promised.
        days: from the appearance of the item.
    """

    impressions: int = 0
    days: float = 7.0

    @classmethod
    def largest(cls, promises: Iterable[Promise]) -> Promise:
        """A promise that holds as long as any of some; nothing is promised without any."""
        made = [promise for promise in promises if promise.impressions]
        if not made:
            return NO_PROMISE
        return cls(max(one.impressions for one in made), max(one.days for one in made))


NO_PROMISE = Promise()


@dataclass(frozen=True, slots=True, eq=False)
class ItemStarts:
    """First event and impressions of every item.

    Args:
        first_events: (N,) float64 Unix seconds; infinite = none yet.
        impressions: (N,) int32. Both are empty if neither is known: then nothing is owed.
    """

    first_events: TimeArray = field(default_factory=lambda: np.empty(0))
    impressions: IntArray = field(default_factory=lambda: NO_ITEMS)

    @property
    def are_known(self) -> bool:
        """False without any item."""
        return len(self.impressions) > 0

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Read the whole log of a dataset."""
        first = np.full(dataset.num_items, np.inf)
        for log in (dataset.events, dataset.negatives, dataset.impressions):
            begins = np.full(dataset.num_items, np.inf)
            begins[log.items[::-1]] = log.timestamps[::-1]  # of equal items the last write counts
            first = np.minimum(first, begins)
        shown = np.bincount(dataset.impressions.items, minlength=dataset.num_items)
        return cls(first, shown.astype(np.int32))

    def find_owed(
        self, promise: Promise, items: IntArray, available_from: TimeArray, times: TimeArray | float
    ) -> BoolArray:
        """Which of some items (C,) are new at a time and were shown less often than promised.

        Args:
            promise: to every item.
            items: (C,) int32.
            available_from: (C,) Unix seconds from which they may be shown, -inf = always.
            times: Unix seconds, one or (C,); NaN = none is owed anything.
        """
        if not promise.impressions or not self.are_known:
            return np.zeros(len(items), np.bool_)
        first, shown = self.first_events[items], self.impressions[items]
        return _are_owed(promise, begin_of(available_from, first), shown, times)

    def find_all_owed(self, promise: Promise, available_from: TimeArray, time: float) -> BoolArray:
        """Which of all items (N,) are owed impressions at a time; see ``find_owed``."""
        if not promise.impressions or not self.are_known:
            return np.zeros(len(available_from), np.bool_)
        begins = begin_of(available_from, np.asarray(self.first_events))
        return _are_owed(promise, begins, np.asarray(self.impressions), time)

    def with_items(self, count: int) -> Self:
        """A copy with ``count`` new items, which have no event."""
        if not self.are_known:
            return self
        return type(self)(
            append_rows(self.first_events, np.full(count, np.inf)),
            append_rows(self.impressions, np.zeros(count, np.int32)),
        )

    def with_events(self, items: IntArray, timestamps: TimeArray, shown: BoolArray) -> Self:
        """A copy after further events.

        Args:
            items: (E,) int32 their items.
            timestamps: (E,) Unix seconds, in any order.
            shown: (E,) bool, which are impressions.
        """
        if not self.are_known or not len(items):
            return self
        numbers, of_events = np.unique(items, return_inverse=True)
        numbers, of_events = numbers.astype(np.int32), of_events.reshape(-1)
        first = np.array(self.first_events[numbers])
        np.minimum.at(first, of_events, timestamps)
        more = np.bincount(of_events[shown], minlength=len(numbers))
        impressions = (self.impressions[numbers] + more).astype(np.int32)
        return type(self)(
            replace_rows(self.first_events, numbers, first),
            replace_rows(self.impressions, numbers, impressions),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays to store, by name."""
        return {
            "first_events": np.asarray(self.first_events),
            "impressions": np.asarray(self.impressions),
        }

    @classmethod
    def of_arrays(cls, stored: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild from ``arrays``.

        Raises:
            ArtefactError: one is missing.
        """
        try:
            return cls(stored["first_events"], stored["impressions"])
        except KeyError as error:
            raise ArtefactError(
                f"the starts of items are not readable: {error} is missing.", "Train again."
            ) from None


def _are_owed(
    promise: Promise, begins: TimeArray, impressions: IntArray, times: TimeArray | float
) -> BoolArray:
    """Which items (C,) that appeared at ``begins`` are new, and shown less than promised."""
    is_new = times < begins + promise.days * DAY_S
    owed: BoolArray = is_new & (impressions < promise.impressions)
    return owed


def begin_of(available_from: TimeArray, first_events: TimeArray) -> TimeArray:
    """Unix seconds (C,) at which items appeared; infinite = not yet."""
    return np.where(np.isfinite(available_from), available_from, first_events)
