"""What behaviour-aligned content alone says, as further dimensions of the retriever's one space.

A request's vector is followed by the mean aligned content of its context, an item's by its own, so
that one dot product adds their cosine to what the network says. It holds for items that nobody has
chosen yet, which a network that knows the others by heart underrates. Plain numpy.

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
from serendip.models.sparse import scaled_rows, with_rows

DECAY = 0.5
"""Weight of an event of the context relative to the one after it."""


@dataclass(frozen=True, slots=True, eq=False)
class ContentAffinity:
    """Aligned content of the items, and what its cosine counts.

    Args:
        projection: aligns content.
        vectors: (N, C) aligned unit vectors.
        weight: factor of the cosine in a score.
    """

    projection: AlignedProjection
    vectors: FloatArray
    weight: float

    def of_queries(self, queries: Sequence[Query]) -> FloatArray:
        """(B, C) ``weight`` times the mean of the context; of the words, where some were typed."""
        if not queries:
            return np.empty((0, self.vectors.shape[1]), np.float32)
        counts = context_matrix(queries, len(self.vectors), DECAY)
        totals: FloatArray = np.maximum(np.asarray(counts.sum(axis=1), np.float32), 1e-12)
        shares: FloatArray = np.reciprocal(totals)
        means = np.asarray(scaled_rows(counts, shares) @ self.vectors, np.float32)
        for row, query in zip(means, queries, strict=True):
            if query.text_vector is not None:
                row[:] = self.projection.encode(query.text_vector[None].astype(np.float32))[0]
        return means * np.float32(self.weight)

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
            "align_weight": np.asarray(self.weight, np.float32),
        }

    @classmethod
    def of_arrays(cls, stored: Mapping[str, FloatArray]) -> ContentAffinity:
        """What ``arrays`` gave."""
        projection = AlignedProjection(stored["align_down"], stored["align_up"])
        return cls(projection, stored["aligned"], float(stored["align_weight"]))
