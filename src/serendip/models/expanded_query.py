"""A query expanded by its nearest items of a crowd: what is like them may be meant, too.

(Rocchio 1971, without feedback.) How near an item is to an expanded query is told as it is, and
relative to how near the crowd is.

Shapes: q queries, n items, p pairs, V views, K items of the crowd, E expansions, C size of a text
vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.models.crowd import Crowd

EXPANSIONS = (3, 10, 30)
"""Nearest items of the crowd that expand a query."""


@dataclass(frozen=True, slots=True, eq=False)
class Expansion:
    """What is known of the items of a crowd.

    Args:
        crowd: theirs.
        known: (V, K) how near they are to the queries of the crowd.
    """

    crowd: Crowd
    known: FloatArray

    @classmethod
    def of(cls, crowd: Crowd) -> Self:
        """Of a crowd's items."""
        return cls(crowd, crowd.hubs(crowd.items.vectors))

    def columns(
        self,
        asked: FloatArray,
        views: FloatArray,
        pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
    ) -> list[FloatArray]:
        """Cosine and relative cosine (p,) of each of ``EXPANSIONS`` and view.

        Args:
            asked: (q, C) unit vectors of the queries.
            views: (V, n, C) of the items.
            pairs: places of query and item, (p,) each.
        """
        row, which = pairs
        best, weights = _nearest(self._near(asked))
        found = np.empty((len(EXPANSIONS), len(views), 2, len(row)), np.float32)
        for view, (vectors, others) in enumerate(zip(views, self.crowd.items.vectors, strict=True)):
            expanded = (weights @ others[best]).reshape(-1, others.shape[1])
            mean, spread = self.crowd.items.moments(view, expanded)
            shape = len(asked), len(EXPANSIONS), -1
            likeness = (expanded @ vectors.T).reshape(shape)[row, :, which].T
            found[:, view, 0] = likeness
            found[:, view, 1] = (likeness - mean.reshape(shape[:2])[row].T) / spread.reshape(
                shape[:2]
            )[row].T
        return list(found.reshape(-1, len(row)))

    def _near(self, asked: FloatArray) -> FloatArray:
        """(q, K) how near queries are to the items of the crowd, relatively, over all views."""
        near: FloatArray = -self.known.mean(0)[None]
        for vectors in self.crowd.items.vectors:
            likeness = asked @ vectors.T
            spread = likeness.std(1, keepdims=True) + 1e-6
            near = near + (likeness - likeness.mean(1, keepdims=True)) / spread / len(self.known)
        return near


def _nearest(near: FloatArray) -> tuple[IntArray, FloatArray]:
    """The nearest of (q, K), and what each counts in each expansion: (q, B) and (q, E, B).

    The nearest one counts most.
    """
    most = min(EXPANSIONS[-1], near.shape[1])
    best = np.argpartition(-near, most - 1, axis=1)[:, :most]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(near, best, 1), axis=1), 1)
    counts = np.exp(2.0 * np.take_along_axis(near, best, 1))[:, None]
    weights = np.where(np.arange(most) < np.array(EXPANSIONS)[:, None], counts, 0.0)
    weights /= weights.sum(2, keepdims=True)
    return best.astype(np.int32), weights.astype(np.float32)
