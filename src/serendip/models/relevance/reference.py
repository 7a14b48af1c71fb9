"""Similarity standardised against reference items.

A cosine of 0.4 alone is not informative: some queries are near all items. So it is standardised by
the query's cosines with a sample of reference items.

Shapes: q queries, n items, p pairs, V views, K reference items, C size of a text vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray

PairRows: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Rows of query and item of p pairs, (p,) each."""

KINDS = ("similarity", "for the query")
"""Columns of each view: cosine, and the same standardised for the query."""

_MIN_SPREAD = 1e-6
"""Added to the standard deviation of similarities, which is 0 where all are equal."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceItems:
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

    def columns(
        self, queries: Sequence[FloatArray], views: FloatArray, pairs: PairRows
    ) -> FloatArray:
        """(p, 2 V) ``KINDS`` of each view.

        Args:
            queries: V times (q, C) unit vectors; they may be the same.
            views: (V, n, C) centred unit vectors of the items.
            pairs: rows of query and item, (p,) each.
        """
        query_rows, item_rows = pairs
        columns = []
        for view, (vectors, items) in enumerate(zip(queries, views, strict=True)):
            mean = vectors @ self.means[view]  # (q,)
            variance = ((vectors @ self.squares[view]) * vectors).sum(1) - mean**2
            spread = np.sqrt(np.maximum(variance, 0.0)) + _MIN_SPREAD
            similarity = (vectors @ items.T)[query_rows, item_rows]
            columns += [similarity, (similarity - mean[query_rows]) / spread[query_rows]]
        return np.column_stack(columns)
