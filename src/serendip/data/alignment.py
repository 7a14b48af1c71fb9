"""Behaviour as pairs of items, and content vectors moved by it: plain arrays, no training.

The projection is learned in ``content``; serving applies it to items that are posted later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import EventLog
from serendip.data.pairs import pairs_by_gap

STEPS = 1
"""Items of one history at most this many steps apart count as chosen together: what lies further
apart is less alike, and moves content to places that hold less for unseen items."""


def cooccurring_pairs(events: EventLog, steps: int = STEPS) -> IntArray:
    """Pairs (P, 2) int32 of different items near one another in a history, the earlier one first.

    Args:
        events: the log; events of one user are its history.
        steps: how far apart the two may be, 1 or more; 1 = neighbours only.

    Returns:
        one row per occurrence, so frequent pairs appear often; neighbours first.
    """
    found = [
        np.stack([earlier, later], axis=1)
        for _, earlier, later in pairs_by_gap(events.users, events.items, steps)
    ]
    return np.concatenate(found).astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class AlignedProjection:
    """Content vectors moved to where behaviour puts them: x + (x down) up, at unit length.

    Linear, so an item that nobody chose yet moves like its neighbours; no content stays no content.

    Args:
        down: (D, R) float32.
        up: (R, D) float32; zeros = content as it is.
    """

    down: FloatArray
    up: FloatArray

    def encode(self, content: FloatArray) -> FloatArray:
        """Aligned vectors (N, D) float32 of content (N, D): unit rows, zero where content is."""
        moved = content + (content @ self.down) @ self.up
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(moved / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)
