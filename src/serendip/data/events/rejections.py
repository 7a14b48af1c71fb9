"""Negative events of all users, and the items that they exclude, while they are in force.

The latest of a user's events on an item decides: a negative event rejects it, a later like or
rating revokes the rejection (see ``ActionRules``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import (
    NO_ITEMS,
    BoolArray,
    FloatArray,
    IntArray,
    TimeArray,
    are_within,
    distinct,
    take_rows,
)
from serendip.data.artefact import Artefact
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
class NegativeLog(Artefact):
    """Negative events in order of time, used for item quality and exclusions.

    They are kept apart from the interactions that models learn from.

    Args:
        users: (K,) int32 user numbers; -1 = a user without interactions.
        items: (K,) int32 item numbers.
        timestamps: (K,) float64 Unix seconds, non-decreasing.
        values: (K,) float32, NaN where the event had none.
        exclusions: (K,) int8 reach of each exclusion, see ``EXCLUSIONS``.
        until: (K,) float64 when it was revoked; infinite = still in force.
    """

    users: IntArray = field(default_factory=lambda: NO_ITEMS)
    items: IntArray = field(default_factory=lambda: NO_ITEMS)
    timestamps: TimeArray = field(default_factory=lambda: np.empty(0))
    values: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))
    exclusions: ExclusionArray = field(default_factory=lambda: np.empty(0, np.int8))
    until: TimeArray = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return len(self.users)

    def before(self, time: float) -> NegativeLog:
        """Events strictly before a time; later revocations are undone."""
        part = take_rows(self, self.timestamps < time)
        return replace(part, until=np.where(part.until < time, part.until, np.inf))

    def renumbered(self, users: IntArray, items: IntArray) -> NegativeLog:
        """Map to new user and item numbers, given by old number; -1 = dropped."""
        users = np.append(users, np.int32(-1))  # a user without interactions stays -1
        moved = replace(self, users=users[self.users], items=items[self.items])
        return take_rows(moved, moved.items >= 0)

    def of_users(self, items: IntArray) -> dict[int, NegativeLog]:
        """User number -> what rejects items, whose numbers are mapped by ``items``."""
        rows = np.flatnonzero((self.users >= 0) & (self.exclusions >= SEEN))
        rows = rows[np.argsort(self.users[rows], kind="stable")]
        users, begins = np.unique(self.users[rows], return_index=True)
        parts: list[NDArray[np.intp]] = np.split(rows, begins[1:])
        moved = replace(self, items=items[self.items])
        return {
            user: take_rows(moved, part) for user, part in zip(users.tolist(), parts, strict=False)
        }

    def at(self, time: float) -> Rejected:
        """What is in force at ``time``, by events strictly before it."""
        in_force = (self.timestamps < time) & (self.until >= time)
        return Rejected.of(self.items[in_force], self.exclusions[in_force])


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


@dataclass(frozen=True, slots=True, eq=False)
class ImpressionLog(Artefact):
    """Impressions of all users in order of time.

    Args:
        items: (I,) int32 item numbers.
        timestamps: (I,) float64 Unix seconds, non-decreasing.
    """

    items: IntArray = field(default_factory=lambda: NO_ITEMS)
    timestamps: TimeArray = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return len(self.items)

    def before(self, time: float) -> ImpressionLog:
        """Impressions strictly before a time."""
        return take_rows(self, self.timestamps < time)

    def renumbered(self, items: IntArray) -> ImpressionLog:
        """Map to new item numbers, given by old number; -1 = dropped."""
        moved = ImpressionLog(items[self.items], self.timestamps)
        return take_rows(moved, moved.items >= 0)
