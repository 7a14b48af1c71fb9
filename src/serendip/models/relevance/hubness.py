"""Hubness-corrected similarity (CSLS style), standardised against reference items and queries.

A cosine of 0.4 alone is not informative: some queries are near all items, and some items (hubs) are
near all queries. So the cosine is standardised by the query's cosines with a sample of reference
items, and that value by the item's values with a sample of reference queries. Sources: the hubness
correction of Dinu et al. 2015 and CSLS (Conneau et al. 2018).

Queries have one vector per view of the items; the vectors may be the same.

Shapes: q queries, n items, p pairs, V views, K reference items, H reference queries, C size of a
text vector, S vectors of a query.
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

KINDS = ("similarity", "for the query", "for both")
"""Columns of each view: cosine, standardised for the query, and for query and item."""

_MIN_SPREAD = 1e-6
"""Added to the standard deviation of similarities, which is 0 where all are equal."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceItems:
    """A sample of items with the moments of their vectors.

    With x the items and e a query vector, mean((e x)^2) = e' S e, where S is the mean of x x': mean
    and standard deviation of the cosines take no pass over the items.

    Args:
        vectors: (V, K, C) centred unit vectors.
        means: (V, C) of the vectors.
        squares: (V, C, C) means of the outer products x x'.
    """

    vectors: FloatArray
    means: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, vectors: FloatArray) -> Self:
        """From vectors (V, K, C)."""
        squares = np.stack([view.T @ view / view.shape[0] for view in vectors])  # (V, C, C)
        return cls(vectors, vectors.mean(1), squares)

    def moments(self, view: int, queries: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (q,) of the cosines of queries (q, C) with a view."""
        mean = queries @ self.means[view]
        variance = ((queries @ self.squares[view]) * queries).sum(1) - mean**2
        return mean, np.sqrt(np.maximum(variance, 0.0)) + _MIN_SPREAD

    def compare(
        self, view: int, queries: FloatArray, items: FloatArray, pairs: PairRows
    ) -> tuple[FloatArray, FloatArray]:
        """Cosines of pairs, and these standardised for the query, (S, p) each.

        Args:
            view: of the items.
            queries: (q, S, C) vectors, S of each query.
            items: (n, C) centred unit vectors.
            pairs: rows of query and item, (p,) each.
        """
        query_rows, item_rows = pairs
        shape, flat = queries.shape[:2], queries.reshape(-1, queries.shape[2])  # (q S, C)
        mean, spread = (one.reshape(shape).T for one in self.moments(view, flat))  # (S, q) each
        cosines = (flat @ items.T).reshape(*shape, -1).swapaxes(0, 1)  # (S, q, n)
        similarity = cosines[:, query_rows, item_rows]
        return similarity, (similarity - mean[:, query_rows]) / spread[:, query_rows]


@dataclass(frozen=True, slots=True, eq=False)
class HubnessCorrection:
    """Reference items, and the mean standardised similarity of items with reference queries.

    Args:
        items: the reference items.
        query_means: (V, C) mean over reference queries of vector / standard deviation.
        offsets: (V,) mean over reference queries of mean / standard deviation, so that
            ``query_means @ x - offsets`` is the hubness of an item vector x.
    """

    items: ReferenceItems
    query_means: FloatArray
    offsets: FloatArray

    @classmethod
    def of(cls, queries: Sequence[FloatArray], items: ReferenceItems) -> Self:
        """From the vectors of reference queries, V times (H, C), and reference items."""
        query_means, offsets = [], []
        for view, vectors in enumerate(queries):
            mean, spread = items.moments(view, vectors)  # (H,) each
            query_means.append((1 / spread) @ vectors / len(vectors))
            offsets.append((mean / spread).mean())
        return cls(items, np.array(query_means, np.float32), np.array(offsets, np.float32))

    def hubness(self, views: FloatArray) -> FloatArray:
        """(V, n) mean standardised similarity of items (V, n, C) with the reference queries."""
        means: FloatArray = (views @ self.query_means[:, :, None])[:, :, 0]  # (V, n)
        return means - self.offsets[:, None]

    def columns(
        self,
        queries: Sequence[FloatArray],
        views: FloatArray,
        pairs: PairRows,
        hubness: FloatArray,
    ) -> list[FloatArray]:
        """``KINDS`` of each view, (p,) each.

        Args:
            queries: V times (q, C) unit vectors.
            views: (V, n, C) centred unit vectors of the items.
            pairs: rows of query and item, (p,) each.
            hubness: (V, n) of the items.
        """
        columns = []
        for view, (vectors, items) in enumerate(zip(queries, views, strict=True)):
            similarity, relative = self.items.compare(view, vectors[:, None], items, pairs)
            columns += [similarity[0], relative[0], relative[0] - hubness[view, pairs[1]]]
        return columns
