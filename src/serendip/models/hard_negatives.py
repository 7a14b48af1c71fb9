"""Negatives that are hard to tell apart from what was chosen: its nearest items, as learned so far.

Uniform negatives soon teach little: nearly all of them are far away. A hard negative is drawn for a
random target of the step, from the items that lie nearest to it. Like all candidates it is shared
by the requests of the step, and the loss corrects for the chance to be drawn.

That chance is taken over all steps, so for the request whose own target drew it, it counts for a
little more than its share: there it is meant to be hard.

Shapes: N items, R targets of a step, E vector size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, TimeArray
from serendip.models.linalg import Sparse, content_neighbours

NUM_NEAREST = 20


@dataclass(frozen=True, slots=True, eq=False)
class HardNegatives:
    """Draws hard negatives.

    Args:
        nearest: (N, N) chance to be drawn for an item; rows sum to 1, or 0 where nothing is near.
        sums: (entries + 1,) running sums of all entries of ``nearest``.
        frequency: (tasks, N) chance that a draw for a random target of a task is this item.
        count: draws of a step.
    """

    nearest: Sparse
    sums: TimeArray
    frequency: TimeArray
    count: int

    @classmethod
    def of(cls, vectors: FloatArray, frequency: TimeArray, count: int) -> HardNegatives:
        """The ``NUM_NEAREST`` items of largest cosine, in proportion to its fourth power.

        Args:
            vectors: (N, E) of the items, of any length.
            frequency: (tasks, N) how often an item is the target of a task.
            count: draws of a step.
        """
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
        everything = np.arange(len(units), dtype=np.int32)
        nearest = content_neighbours(units, everything, units, NUM_NEAREST)
        sums = np.concatenate(([0.0], np.cumsum(nearest.data, dtype=np.float64)))
        return cls(nearest, sums, np.asarray((nearest.T @ frequency.T).T), count)

    def draw(self, targets: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Up to ``count`` items, for as many of the targets (R,), drawn with replacement."""
        begins, ends = self.nearest.indptr[:-1], self.nearest.indptr[1:]
        drawn = targets[random.integers(0, len(targets), self.count)]
        drawn = drawn[ends[drawn] > begins[drawn]]
        low, high = self.sums[begins[drawn]], self.sums[ends[drawn]]
        point = low + random.random(len(drawn)) * (high - low)
        place = np.searchsorted(self.sums, point, side="right") - 1
        place = np.clip(place, begins[drawn], ends[drawn] - 1)
        return np.asarray(self.nearest.indices[place], np.int64)

    def expected(self, per_task: NDArray[np.int64]) -> TimeArray:
        """(N,) how often an item is drawn in a step with so many targets (tasks,)."""
        share = per_task / max(1, per_task.sum())
        return np.asarray(self.count * (share @ self.frequency), np.float64)
