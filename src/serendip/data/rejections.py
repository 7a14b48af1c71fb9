"""What users rejected: items that are kept from them, and from when to when.

Of a user's events with an item the newest word counts: a negative event rejects it, a later like or
rating takes that back (see ``ActionRules``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, BoolArray, IntArray, TimeArray
from serendip.data.event import EXCLUSIONS, Exclusion

ExclusionArray: TypeAlias = NDArray[np.int8]
"""Places in ``EXCLUSIONS``; -1 = the event is not negative."""

SEEN = EXCLUSIONS.index("seen")


@dataclass(frozen=True, slots=True, eq=False)
class Rejected:
    """Items that one user does not want, as of one moment.

    Args:
        item_nums: (R,) int32 item numbers, ascending, each once.
        exclusions: (R,) int8 how far each is kept away.
    """

    item_nums: IntArray = field(default_factory=lambda: NO_ITEMS)
    exclusions: ExclusionArray = field(default_factory=lambda: np.empty(0, np.int8))

    def __len__(self) -> int:
        return len(self.item_nums)

    @classmethod
    def of(cls, item_nums: IntArray, exclusions: ExclusionArray) -> Rejected:
        """From the negative events that stand; of one item the one that reaches furthest counts."""
        items, place = np.unique(item_nums, return_inverse=True)
        furthest = np.zeros(len(items), np.int8)
        np.maximum.at(furthest, place.reshape(-1), exclusions)
        return cls(items.astype(np.int32), furthest)

    def reaching(self, exclusion: Exclusion) -> IntArray:
        """Items that are kept away at least that far."""
        return self.item_nums[self.exclusions >= EXCLUSIONS.index(exclusion)]

    def known(self, num_items: int) -> Rejected:
        """Items with numbers in [0, num_items)."""
        keep = (self.item_nums >= 0) & (self.item_nums < num_items)
        return self if keep.all() else Rejected(self.item_nums[keep], self.exclusions[keep])


@dataclass(frozen=True, slots=True, eq=False)
class Rejections:
    """What one user rejected over time; one row per negative event.

    Args:
        item_nums: (K,) int32 item numbers.
        since: (K,) float64 Unix seconds of the event.
        until: (K,) float64 when it was taken back; infinite = it stands.
        exclusions: (K,) int8 how far the item is kept away, ``SEEN`` or more.
    """

    item_nums: IntArray = field(default_factory=lambda: NO_ITEMS)
    since: TimeArray = field(default_factory=lambda: np.empty(0))
    until: TimeArray = field(default_factory=lambda: np.empty(0))
    exclusions: ExclusionArray = field(default_factory=lambda: np.empty(0, np.int8))

    def at(self, time: float) -> Rejected:
        """What was rejected and not taken back by events strictly before ``time``."""
        stands = (self.since < time) & (self.until >= time)
        return Rejected.of(self.item_nums[stands], self.exclusions[stands])


def taken_back_at(
    pairs: NDArray[np.integer], takes_back: BoolArray, timestamps: TimeArray
) -> TimeArray:
    """(E,) time of the next event of the same user and item that takes back what was said before.

    Args:
        pairs: (E,) a number for each user and item, in order of time.
        takes_back: (E,) bool.
        timestamps: (E,) non-decreasing.

    Returns:
        infinity where there is no such event.
    """
    order = np.argsort(pairs, kind="stable")
    ordered, count = pairs[order], len(pairs)
    places = np.where(takes_back[order], np.arange(count), count)
    following = np.minimum.accumulate(places[::-1])[::-1]
    inside = np.minimum(following, count - 1)
    is_same = (following < count) & (ordered[inside] == ordered)
    until = np.empty(count)
    until[order] = np.where(is_same, timestamps[order[inside]], np.inf)
    return until
