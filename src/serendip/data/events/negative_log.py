"""Log of negative events of all users, separate from the interactions that models learn from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray, TimeArray, take_rows
from serendip.data.artefact import Artefact
from serendip.data.events.rejections import SEEN, ExclusionArray, Rejections


@dataclass(frozen=True, slots=True, eq=False)
class NegativeLog(Artefact):
    """Negative events in order of time, used for item quality and exclusions.

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

    def of_users(self, items: IntArray) -> dict[int, Rejections]:
        """User number -> their rejections over time, item numbers mapped by ``items``."""
        rows = np.flatnonzero((self.users >= 0) & (self.exclusions >= SEEN))
        rows = rows[np.argsort(self.users[rows], kind="stable")]
        users, begins = np.unique(self.users[rows], return_index=True)
        parts: list[NDArray[np.intp]] = np.split(rows, begins[1:])
        return {
            user: Rejections(
                items[self.items[part]],
                self.timestamps[part],
                self.until[part],
                self.exclusions[part],
            )
            for user, part in zip(users.tolist(), parts, strict=False)
        }
