"""What behaviour-aligned content alone says, as further dimensions of the retriever's one space.

A request's vector is followed by the mean aligned content of its context and that of its words, an
item's by its own, so that one dot product adds their cosines to what the network says. It holds for
items that nobody has chosen yet, which a network that knows the others by heart underrates. How
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
    """Aligned content of the items, and what its cosine counts.

    Args:
        projection: aligns content.
        vectors: (N, C) aligned unit vectors.
        weights: (tasks, 2) float32 factors of the two cosines in a score: of the context, and of
            the words where some were typed.
    """

    projection: AlignedProjection
    vectors: FloatArray
    weights: FloatArray

    def of_queries(self, queries: Sequence[Query]) -> FloatArray:
        """(B, C) weighted sum of the mean of the context and of the words."""
        if not queries:
            return np.empty((0, self.vectors.shape[1]), np.float32)
        weights = self.weights[[TASKS[query.surface] for query in queries]]
        counts = context_matrix(queries, len(self.vectors), DECAY)
        totals: FloatArray = np.maximum(np.asarray(counts.sum(axis=1), np.float32), 1e-12)
        shares: FloatArray = weights[:, 0] / totals.ravel()
        found = np.asarray(scaled_rows(counts, shares) @ self.vectors, np.float32)
        for row, query in enumerate(queries):
            if query.text_vector is not None:
                words = self.projection.encode(query.text_vector[None].astype(np.float32))
                found[row] += weights[row, 1] * words[0]
        return found

    def extended(self, content: FloatArray) -> ContentAffinity:
        """With new items after the known ones."""
        new = self.projection.encode(content)
        return replace(self, vectors=np.concatenate([self.vectors, new]))

    def changed(self, item_nums: IntArray, content: FloatArray) -> ContentAffinity:
        """With other content of some items."""
        new = self.projection.encode(content)
        return replace(self, vectors=with_rows(self.vectors, item_nums, new))

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
