"""Reception: how often each item was shown, and how often rejected; and which items are new.

New items are those that lists may give positions to although nothing is known of them: nobody has
chosen or rejected them, they were not shown again and again without being chosen, and they are not
older than others of which the same is true. An item whose every rating is bad is not new.

Shapes: N items, E events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from serendip.data.arrays import BoolArray, IntArray, TimeArray
from serendip.data.artefact import Artefact
from serendip.data.dataset import Dataset
from serendip.data.rows.row_array import put_rows

MOST_IMPRESSIONS = 20  # without a choice, after which an item is no longer new
MOST_DAYS = 30.0  # by which a new item may have become available before the newest of them


@dataclass(frozen=True, slots=True, eq=False)
class Reception(Artefact):
    """Impressions and rejections of every item.

    Args:
        impressions: (N,) int32.
        rejections: (N,) int32 negative events that were not taken back.
    """

    impressions: IntArray
    rejections: IntArray

    @classmethod
    def none(cls, count: int) -> Self:
        """Of ``count`` items that nobody has seen."""
        return cls(np.zeros(count, np.int32), np.zeros(count, np.int32))

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Read the whole log of a dataset."""
        negatives, count = dataset.negatives, dataset.num_items
        shown = np.bincount(dataset.impressions.items, minlength=count)
        rejected = np.bincount(negatives.items[np.isinf(negatives.until)], minlength=count)
        return cls(shown.astype(np.int32), rejected.astype(np.int32))

    def find_new(self, counts: IntArray, shown: BoolArray, begins: TimeArray) -> BoolArray:
        """Which of all items (N,) are new.

        Args:
            counts: (N,) int32 interactions.
            shown: (N,) bool, which items may be shown.
            begins: (N,) Unix seconds at which they appeared; infinite = after all that have a time,
                -inf = before.
        """
        is_new: BoolArray = shown & (np.asarray(counts) == 0)
        is_new &= np.asarray(self.rejections) == 0
        is_new &= np.asarray(self.impressions) < MOST_IMPRESSIONS
        times = begins[is_new & (begins < np.inf)]
        newest = times.max(initial=-np.inf)
        if newest == -np.inf and (begins[is_new] == np.inf).any():
            newest = np.inf
        is_new &= begins >= newest - MOST_DAYS * DAY_S
        return is_new

    def are_rejected(self, items: IntArray, counts: IntArray) -> BoolArray:
        """Which of some items (C,) more people rejected than chose, (N,) times each."""
        is_rejected: BoolArray = self.rejections[items] > counts[items]
        return is_rejected

    def with_new(self, numbers: IntArray) -> Self:
        """A copy with new items (M,), which nobody has seen."""
        none = np.zeros_like(numbers)
        return type(self)(
            put_rows(self.impressions, numbers, none), put_rows(self.rejections, numbers, none)
        )

    def with_events(self, items: IntArray, shown: BoolArray, rejected: BoolArray) -> Self:
        """A copy after E further events, of which masks say what is an impression or negative."""
        numbers, of_events = np.unique(items, return_inverse=True)
        numbers, of_events = numbers.astype(np.int32), of_events.reshape(-1)
        changed = (
            (known[numbers] + np.bincount(of_events[mask], minlength=len(numbers))).astype(np.int32)
            for known, mask in ((self.impressions, shown), (self.rejections, rejected))
        )
        impressions, rejections = changed
        return type(self)(
            put_rows(self.impressions, numbers, impressions),
            put_rows(self.rejections, numbers, rejections),
        )


DAY_S = 86_400.0


def find_starts(dataset: Dataset) -> TimeArray:
    """(N,) Unix seconds from which items could be seen; infinite = without a time or an event."""
    first = np.full(dataset.num_items, np.inf)
    for log in (dataset.events, dataset.negatives, dataset.impressions):
        np.minimum.at(first, log.items, log.timestamps)
    available_from = np.asarray(dataset.catalogue.available_from)
    return np.where(np.isfinite(available_from), available_from, first)
