"""A query expanded by its nearest items of a crowd: what is like them may be meant, too.

(Rocchio 1971, without feedback.) How near an item is to an expanded query is told as it is, and
relative to how near the crowd is. That needs the crowd's mean and its mean square alone: with e an
expanded query, mean((e x)^2) = e' S e, where S is the mean of x x' over the crowd.

Shapes: q queries, n items, p pairs, V views, K items of the crowd, C size of a text vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray
from serendip.models.crowd import Crowd

EXPANSIONS = (3, 10, 30)
"""Nearest items of the crowd that expand a query."""

Seen = Sequence[tuple[FloatArray, FloatArray, FloatArray]]
"""As ``Crowd.seen`` tells it."""


@dataclass(frozen=True, slots=True, eq=False)
class Expansion:
    """What is known of the items of a crowd.

    Args:
        known: (V, K) how near they are to the queries of the crowd.
        means: (V, C) of them.
        squares: (V, C, C) means of their products with themselves.
    """

    known: FloatArray
    means: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, crowd: Crowd) -> Self:
        """Of a crowd's items."""
        items = crowd.items
        squares = np.stack([view.T @ view / view.shape[0] for view in items])
        return cls(crowd.hubs(items), items.mean(1), squares)

    def columns(
        self,
        crowd: Crowd,
        seen: Seen,
        views: FloatArray,
        pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
    ) -> list[FloatArray]:
        """Cosine and relative cosine (p,) of each of ``EXPANSIONS`` and view.

        Args:
            crowd: that this was made of.
            seen: of the queries.
            views: (V, n, C) of the items.
            pairs: places of query and item, (p,) each.
        """
        row, which = pairs
        near = np.mean(
            [
                (likeness - mean[:, None]) / spread[:, None] - hub
                for (likeness, mean, spread), hub in zip(seen, self.known, strict=True)
            ],
            axis=0,
        )
        columns = []
        for count in EXPANSIONS:
            for view, others, mean, squares in zip(
                views, crowd.items, self.means, self.squares, strict=True
            ):
                expanded = _expanded(near, others, count)
                likeness = (expanded @ view.T)[row, which]
                middle = expanded @ mean
                variance = ((expanded @ squares) * expanded).sum(1) - middle**2
                spread = np.sqrt(np.maximum(variance, 0.0)) + 1e-6
                columns += [likeness, (likeness - middle[row]) / spread[row]]
        return columns


def _expanded(near: FloatArray, others: FloatArray, count: int) -> FloatArray:
    """(q, C) means of the ``count`` nearest items of the crowd, the nearest with most weight."""
    count = min(count, near.shape[1])
    best = np.argpartition(-near, count - 1, axis=1)[:, :count]
    weight = np.exp(2.0 * np.take_along_axis(near, best, 1))
    weight /= weight.sum(1, keepdims=True)
    mixed: FloatArray = np.einsum("qn,qnc->qc", weight, others[best]).astype(np.float32)
    return mixed
