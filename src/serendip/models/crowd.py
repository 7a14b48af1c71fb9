"""How near a query is to an item, among what else there is to choose.

A likeness of .4 says nothing by itself: some queries are near to everything and some items are near
to every query. So a likeness is told relative to what the query has with a crowd of items, and that
relative to what the item has with a crowd of queries. (Ideas: the hubness correction of Dinu et al.
2015 and of CSLS, Conneau et al. 2018.)

Queries have a vector for each view of the items, which may be the same one.

Shapes: q queries, n items, p pairs, V views, K items and H queries of the crowds, C size.
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


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """Some items, and how near items are to some queries.

    Args:
        items: (V, K, C) centred unit vectors of some items.
        others: (V, C) and
        others_mean: (V,): ``others @ v - others_mean`` is how near an item's vector v is to some
            queries in the mean, each relative to what it has with the items above.
    """

    items: FloatArray
    others: FloatArray
    others_mean: FloatArray

    @classmethod
    def of(cls, queries: Sequence[FloatArray], items: FloatArray) -> Self:
        """From the vectors of a crowd of queries, V times (H, C), and of one of items."""
        others, means = [], []
        for own, view in zip(queries, items, strict=True):
            seen = own @ view.T
            mean, spread = seen.mean(1), seen.std(1) + 1e-6
            others.append((1 / spread) @ own / len(own))
            means.append((mean / spread).mean())
        return cls(items, np.array(others, np.float32), np.array(means, np.float32))

    def hubs(self, views: FloatArray) -> FloatArray:
        """(V, n) how near items (V, n, C) are to the queries of the crowd."""
        near: FloatArray = np.einsum("vc,vnc->vn", self.others, views)
        return near - self.others_mean[:, None]

    def seen(
        self, queries: Sequence[FloatArray]
    ) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
        """Per view the likenesses (q, K) with the items of the crowd, their means and spreads."""
        found = []
        for own, view in zip(queries, self.items, strict=True):
            likeness = own @ view.T
            found.append((likeness, likeness.mean(1), likeness.std(1) + 1e-6))
        return found

    def columns(
        self,
        queries: Sequence[FloatArray],
        views: FloatArray,
        pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
        seen: Sequence[tuple[FloatArray, FloatArray, FloatArray]] | None = None,
    ) -> list[FloatArray]:
        """``KINDS`` of each view (p,).

        Args:
            queries: V times (q, C) unit vectors.
            views: (V, n, C) centred unit vectors.
            pairs: places of query and item, (p,) each.
            seen: of the same queries, where it is known.
        """
        row, which = pairs
        told = self.seen(queries) if seen is None else seen
        columns = []
        for own, view, (_, mean, spread), hub in zip(
            queries, views, told, self.hubs(views), strict=True
        ):
            likeness = (own @ view.T)[row, which]
            relative = (likeness - mean[row]) / spread[row]
            columns += [likeness, relative, relative - hub[which]]
        return columns
