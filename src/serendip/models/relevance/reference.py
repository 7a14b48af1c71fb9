"""Similarity standardised against reference items.

A cosine of 0.4 alone is not informative: some queries are near all items. So it is standardised by
the query's cosines with a sample of reference items.

Shapes: p pairs of a query, V views, K reference items, C size of a text vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.artefact import Artefact

KINDS = ("similarity", "for the query")
"""Columns of each view: cosine, and the same standardised for the query."""

_MIN_SPREAD = 1e-6
"""Added to the standard deviation of similarities, which is 0 where all are equal."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceItems(Artefact):
    """The moments of the vectors of a sample of items.

    With x the items and e a query vector, mean((e x)^2) = e' S e, where S is the mean of x x': mean
    and standard deviation of the cosines take no pass over the items.

    Args:
        means: (V, C) of the vectors.
        squares: (V, C, C) means of the outer products x x'.
    """

    means: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, vectors: FloatArray) -> Self:
        """From centred unit vectors (V, K, C)."""
        squares = np.stack([view.T @ view / view.shape[0] for view in vectors])  # (V, C, C)
        return cls(vectors.mean(1), squares)

    def columns(self, vectors: Sequence[FloatArray], views: FloatArray) -> FloatArray:
        """(p, 2 V) ``KINDS`` of each view.

        Args:
            vectors: V times (C,) unit vectors of the query; they may be the same.
            views: (V, p, C) centred unit vectors of the items.
        """
        columns = []
        for view, (vector, items) in enumerate(zip(vectors, views, strict=True)):
            mean = vector @ self.means[view]
            variance = vector @ self.squares[view] @ vector - mean**2
            similarity = items @ vector  # (p,)
            spread = np.sqrt(max(variance, 0.0)) + _MIN_SPREAD
            columns += [similarity, (similarity - mean) / spread]
        return np.column_stack(columns)
