"""Rejections: items excluded for a user by negative events, with the time each one is in force.

The latest of a user's events on an item decides: a negative event rejects it, a later like or
rating revokes the rejection (see ``ActionRules``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import (
    NO_ITEMS,
    BoolArray,
    IntArray,
    TimeArray,
    are_within,
    distinct,
)
from serendip.data.events.event import EXCLUSIONS, Exclusion

ExclusionArray: TypeAlias = NDArray[np.int8]  # into ``EXCLUSIONS``; -1 = the event is not negative
SEEN = EXCLUSIONS.index("seen")
_RECOMMENDATIONS = EXCLUSIONS.index("recommendations")

# The newest rejected items, whose like is lowered: a request costs the same whatever was rejected.
MOST_UNWANTED = 32


@dataclass(frozen=True, slots=True, eq=False)
class Rejected:
    """Items that one user does not want, at one moment.

    Args:
        item_nums: (R,) int32 item numbers, ascending, unique.
        exclusions: (R,) int8 reach of each exclusion.
        unwanted: (S,) int32 the newest of the items that are not to be recommended, whose like is
            lowered, too; at most ``MOST_UNWANTED``.
    """

    item_nums: IntArray = field(default_factory=lambda: NO_ITEMS)
    exclusions: ExclusionArray = field(default_factory=lambda: np.empty(0, np.int8))
    unwanted: IntArray = field(default_factory=lambda: NO_ITEMS)

    def __len__(self) -> int:
        return len(self.item_nums)

    @classmethod
    def of(cls, item_nums: IntArray, exclusions: ExclusionArray) -> Rejected:
        """Build from the negative events in force, oldest first; the widest exclusion counts."""
        items, inverse = np.unique(item_nums, return_inverse=True)
        widest = np.zeros(len(items), np.int8)
        np.maximum.at(widest, inverse.reshape(-1), exclusions)
        newest = item_nums[exclusions >= _RECOMMENDATIONS][-MOST_UNWANTED:]
        return cls(items.astype(np.int32), widest, distinct(newest))

    def reaching(self, exclusion: Exclusion) -> IntArray:
        """Items whose exclusion reaches at least that far."""
        return self.item_nums[self.exclusions >= EXCLUSIONS.index(exclusion)]

    def known(self, num_items: int) -> Rejected:
        """Restrict to items with numbers in [0, num_items)."""
        if are_within(self.item_nums, num_items):
            return self
        keep = (self.item_nums >= 0) & (self.item_nums < num_items)
        unwanted = self.unwanted[(self.unwanted >= 0) & (self.unwanted < num_items)]
        return Rejected(self.item_nums[keep], self.exclusions[keep], unwanted)


@dataclass(frozen=True, slots=True, eq=False)
class Rejections:
    """Rejections of one user over time, one row per negative event.

    Args:
        item_nums: (K,) int32 item numbers.
        since: (K,) float64 Unix seconds of the event.
        until: (K,) float64 when it was revoked; infinite = still in force.
        exclusions: (K,) int8 reach of the exclusion, ``SEEN`` or more.
    """

    item_nums: IntArray = field(default_factory=lambda: NO_ITEMS)
    since: TimeArray = field(default_factory=lambda: np.empty(0))
    until: TimeArray = field(default_factory=lambda: np.empty(0))
    exclusions: ExclusionArray = field(default_factory=lambda: np.empty(0, np.int8))

    def at(self, time: float) -> Rejected:
        """The rejections in force at ``time``, by events strictly before it."""
        in_force = (self.since < time) & (self.until >= time)
        return Rejected.of(self.item_nums[in_force], self.exclusions[in_force])


def taken_back_at(
    pairs: NDArray[np.integer], takes_back: BoolArray, timestamps: TimeArray
) -> TimeArray:
    """(E,) time of the next event of the same user and item that revokes earlier rejections.

    Infinity where there is none. ``pairs`` (E,) are numbers of (user, item), in order of time.
    """
    order = np.argsort(pairs, kind="stable")
    ordered, count = pairs[order], len(pairs)
    rows = np.where(takes_back[order], np.arange(count), count)
    following = np.minimum.accumulate(rows[::-1])[::-1]
    inside = np.minimum(following, count - 1)
    is_same = (following < count) & (ordered[inside] == ordered)
    until = np.empty(count)
    until[order] = np.where(is_same, timestamps[order[inside]], np.inf)
    return until
