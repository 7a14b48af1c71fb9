"""What content alone says, as further dimensions of the retriever's one space.

A request's vector is followed by the mean aligned content of its context and by its words, an
item's by its aligned content and its content as it was encoded, so that one dot product adds both
cosines to what the network says. It holds for items that nobody has chosen yet, which a network
that knows the others by heart underrates. Aligned content tells what is chosen next; words are
compared with content as it is, since alignment moves an item away from what it is called. How
much either counts depends on the task: that changes the request's side only, so one index serves
all of them. Plain numpy.

Shapes: B queries, N items, C content size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.alignment import AlignedProjection
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.query import Query
from serendip.models.query_weights import context_matrix
from serendip.models.retriever_context import NUM_TASKS, SEARCH, TASKS
from serendip.models.sparse import scaled_rows, with_rows

DECAY = 0.5
"""Weight of an event of the context relative to the one after it."""


@dataclass(frozen=True, slots=True, eq=False)
class ContentAffinity:
    """Content of the items, aligned and plain, and what its cosines count.

    Args:
        projection: aligns content.
        vectors: (N, 2 C) aligned unit vectors, then plain ones; or (N, C) aligned ones alone, with
            which words are compared, too: where none were learned, and in earlier artefacts.
        weights: (tasks, 2) float32 factors of the two cosines in a score: of the context, and of
            the words where some were typed.
    """

    projection: AlignedProjection
    vectors: FloatArray
    weights: FloatArray

    def of_queries(self, queries: Sequence[Query]) -> FloatArray:
        """(B, 2 C) weighted mean of the context, then the weighted words; or (B, C) their sum."""
        size, width = len(self.projection.down), self.vectors.shape[1]
        if not queries:
            return np.empty((0, width), np.float32)
        weights = self.weights[[TASKS[query.surface] for query in queries]]
        counts = context_matrix(queries, len(self.vectors), DECAY)
        totals: FloatArray = np.maximum(np.asarray(counts.sum(axis=1), np.float32), 1e-12)
        shares: FloatArray = weights[:, 0] / totals.ravel()
        found = np.zeros((len(queries), width), np.float32)
        found[:, :size] = scaled_rows(counts, shares) @ self.vectors[:, :size]
        for row, query in enumerate(queries):
            if query.text_vector is not None:
                words = query.text_vector[None].astype(np.float32)
                if width == size:
                    words = self.projection.encode(words)
                found[row, width - size :] += weights[row, 1] * words[0]
        return found

    def extended(self, content: FloatArray) -> ContentAffinity:
        """With new items after the known ones."""
        return replace(self, vectors=np.concatenate([self.vectors, self._rows(content)]))

    def changed(self, item_nums: IntArray, content: FloatArray) -> ContentAffinity:
        """With other content of some items."""
        return replace(self, vectors=with_rows(self.vectors, item_nums, self._rows(content)))

    def _rows(self, content: FloatArray) -> FloatArray:
        """What stands for items of content (U, C)."""
        aligned = self.projection.encode(content)
        if self.vectors.shape[1] == aligned.shape[1]:
            return aligned
        return np.concatenate([aligned, content.astype(np.float32)], axis=1)

    def arrays(self) -> dict[str, FloatArray]:
        """What is stored, by name."""
        return {
            "aligned": self.vectors,
            "align_down": self.projection.down,
            "align_up": self.projection.up,
            "align_weights": self.weights,
        }

    @classmethod
    def of_arrays(cls, stored: Mapping[str, FloatArray]) -> ContentAffinity:
        """What ``arrays`` gave."""
        projection = AlignedProjection(stored["align_down"], stored["align_up"])
        return cls(projection, stored["aligned"], _weights(stored))


def _weights(stored: Mapping[str, FloatArray]) -> FloatArray:
    """Earlier artefacts have one weight, of the words where some were typed, else of the context.

    Here search with words reads both; of those artefacts it gets the words alone.
    """
    if "align_weights" in stored:
        return stored["align_weights"]
    weights = np.full((NUM_TASKS, 2), stored["align_weight"], np.float32)
    weights[SEARCH, 0] = 0.0
    return weights
