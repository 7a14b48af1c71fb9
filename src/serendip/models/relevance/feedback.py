"""Query expansion and pseudo-relevance feedback: similarity to a query's nearest items.

Query expansion (Rocchio 1971, without user feedback): the query vector is moved towards its nearest
reference items, and the similarity of an item to the expanded query is given as it is and relative
to the reference items.

Pseudo-relevance feedback: similarity of an item to the centroid of the query's top results. A short
query has little text; its top results by vectors and by words show what else belongs to it (Rocchio
1971; for words the relevance model of Lavrenko and Croft 2001). The feedback depends on the
reference items only, not on the other items of the request.

Shapes: q queries, n items, p pairs of a query, V views, K reference items, E expansions, C size of
a text vector, R directions.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.numeric import unit
from serendip.models.linalg import main_directions
from serendip.models.relevance.hubness import HubnessCorrection
from serendip.models.relevance.term_overlap import TermOverlap

_SHORTEST = 1e-9
"""Mean vectors shorter than this are rounding residue."""

EXPANSIONS = (3, 10, 30)
"""Nearest items of the crowd that expand a query."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryExpansion:
    """What is known of the items of a crowd.

    Args:
        crowd: theirs.
        known: (V, K) how near they are to the queries of the crowd.
    """

    crowd: HubnessCorrection
    known: FloatArray

    @classmethod
    def of(cls, crowd: HubnessCorrection) -> Self:
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


SHELF = 8_192
"""Items that can be found, at most."""

DIRECTIONS = 192
"""In which items of the shelf differ most; by the others nothing is found."""

FOUND = (5, 15, 40)
"""How many of the first ones are looked at."""

_WORDS_COUNT = 0.5
"""What a spread of words counts, beside one of vectors."""


@dataclass(frozen=True, slots=True, eq=False)
class RelevanceFeedback:
    """Items that can be found.

    Args:
        numbers: (K,) theirs.
        directions: (C, R) orthonormal.
        whole: (K, R) what unit vectors of all their views together are along these.
    """

    numbers: IntArray
    directions: FloatArray
    whole: FloatArray

    @classmethod
    def of(cls, views: FloatArray) -> Self:
        """From the centred vectors (V, N, C) of items, drawn by seed 0 where there are too many."""
        random = np.random.default_rng(0)
        numbers = np.sort(random.permutation(views.shape[1])[:SHELF]).astype(np.int32)
        whole = unit(views[:, numbers].mean(0), _SHORTEST)
        directions = main_directions(whole, DIRECTIONS)
        return cls(numbers, directions, whole @ directions)

    def columns(
        self,
        own: FloatArray,
        words: Collection[str],
        overlap: TermOverlap,
        views: FloatArray,
        numbers: IntArray,
    ) -> FloatArray:
        """(p, FOUND x (V + 1) + 1) how near items are to what a query finds.

        Of each count the cosines with the middle of what is found, and which share of its rare
        words the title has; and last how near the found ones are to each other.

        Args:
            own: (C,) unit vector of the query.
            words: of the query.
            overlap: words of all items.
            views: (V, N, C) of all items.
            numbers: (p,) the items.
        """
        near = _scaled(self.whole @ (own @ self.directions))
        near += _WORDS_COUNT * _scaled(overlap.in_texts(words)[self.numbers])
        most = min(FOUND[-1], len(near))
        best = np.argpartition(-near, most - 1)[:most]
        best = best[np.argsort(-near[best], kind="stable")]
        found, weights = self.numbers[best], _counted(near[best])
        middles = unit(weights @ views[:, found], _SHORTEST)
        cosines = views[:, numbers] @ middles.transpose(0, 2, 1)
        columns = []
        for place in range(len(FOUND)):
            columns += list(cosines[:, :, place])
            columns.append(overlap.of_items(found, weights[place], numbers))
        alike = float((views[0, found] @ middles[0, -1]).mean())
        return np.column_stack([*columns, np.full(len(numbers), alike)])


def _counted(near: FloatArray) -> FloatArray:
    """(FOUND, n) what the first ones count in each count, of how near they are, falling (n,)."""
    weights = np.exp(near - near[0])
    some = np.where(np.arange(len(near)) < np.array(FOUND)[:, None], weights, 0.0)
    shares: FloatArray = (some / some.sum(1, keepdims=True)).astype(np.float32)
    return shares


def _scaled(values: FloatArray) -> FloatArray:
    scaled: FloatArray = (values - values.mean()) / (values.std() + 1e-6)
    return scaled
