"""Log of impressions: which items were shown, and when."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from serendip.data.arrays import NO_ITEMS, IntArray, TimeArray, take_rows
from serendip.data.artefact import Artefact


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
