"""Hubness-corrected similarity (CSLS style), standardised against reference items and queries.

A cosine of 0.4 alone is not informative: some queries are near all items, and some items (hubs) are
near all queries. So the cosine is standardised by the query's cosines with a sample of reference
items, and that value by the item's values with a sample of reference queries. Sources: the hubness
correction of Dinu et al. 2015 and CSLS (Conneau et al. 2018).

Queries have one vector per view of the items; the vectors may be the same.

Shapes: q queries, n items, p pairs, V views, K reference items, H reference queries, C size of a
text vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray

KINDS = ("likeness", "for the query", "for both")
"""Columns of each view."""

_LEAST = 1e-6
"""Spread of likenesses that are all the same."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceItems:
    """Some items, and what their likenesses with a vector are like.

    Mean and spread of these need no look at each item: with x the items and e a vector,
    mean((e x)^2) = e' S e, where S is the mean of x x'.

    Args:
        vectors: (V, K, C) centred unit vectors.
        means: (V, C) of them.
        squares: (V, C, C) means of their products with themselves.
    """

    vectors: FloatArray
    means: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, vectors: FloatArray) -> Self:
        """From vectors (V, K, C)."""
        squares = np.stack([view.T @ view / view.shape[0] for view in vectors])
        return cls(vectors, vectors.mean(1), squares)

    def moments(self, view: int, asked: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and spread (q,) of the likenesses of vectors (q, C) with the items of a view."""
        middle = asked @ self.means[view]
        variance = ((asked @ self.squares[view]) * asked).sum(1) - middle**2
        return middle, np.sqrt(np.maximum(variance, 0.0)) + _LEAST


@dataclass(frozen=True, slots=True, eq=False)
class HubnessCorrection:
    """Some items, and how near items are to some queries.

    Args:
        items: of the crowd.
        others: (V, C) and
        others_mean: (V,): ``others @ v - others_mean`` is how near an item's vector v is to some
            queries in the mean, each relative to what it has with the items above.
    """

    items: ReferenceItems
    others: FloatArray
    others_mean: FloatArray

    @classmethod
    def of(cls, queries: Sequence[FloatArray], items: ReferenceItems) -> Self:
        """From the vectors of a crowd of queries, V times (H, C), and a crowd of items."""
        others, means = [], []
        for view, own in enumerate(queries):
            mean, spread = items.moments(view, own)
            others.append((1 / spread) @ own / len(own))
            means.append((mean / spread).mean())
        return cls(items, np.array(others, np.float32), np.array(means, np.float32))

    def hubs(self, views: FloatArray) -> FloatArray:
        """(V, n) how near items (V, n, C) are to the queries of the crowd."""
        near: FloatArray = np.einsum("vc,vnc->vn", self.others, views)
        return near - self.others_mean[:, None]

    def columns(
        self,
        queries: Sequence[FloatArray],
        views: FloatArray,
        pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
    ) -> list[FloatArray]:
        """``KINDS`` of each view (p,).

        Args:
            queries: V times (q, C) unit vectors.
            views: (V, n, C) centred unit vectors.
            pairs: places of query and item, (p,) each.
        """
        row, which = pairs
        columns = []
        for view, (own, vectors, hub) in enumerate(
            zip(queries, views, self.hubs(views), strict=True)
        ):
            likeness = (own @ vectors.T)[row, which]
            mean, spread = self.items.moments(view, own)
            relative = (likeness - mean[row]) / spread[row]
            columns += [likeness, relative, relative - hub[which]]
        return columns
