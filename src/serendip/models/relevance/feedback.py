"""Query expansion and pseudo-relevance feedback: similarity to a query's nearest items.

Query expansion (Rocchio 1971, without user feedback): the query vector is moved towards its nearest
reference items, and the similarity of an item to the expanded query is given as it is and relative
to the reference items.

Pseudo-relevance feedback: similarity of an item to the centroid of the query's top results. A short
query has little text; its top results by vectors and by words show what else belongs to it (Rocchio
1971; for words the relevance model of Lavrenko and Croft 2001). The feedback depends on the
reference items only, not on the other items of the request.

Shapes: q queries, n items, p pairs of a query, V views, K reference items, E expansions, B nearest
items, C size of a text vector, R directions.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.numeric import unit
from serendip.models.linalg import main_directions
from serendip.models.relevance.hubness import HubnessCorrection
from serendip.models.relevance.term_overlap import TermOverlap, TermSets

_SHORTEST = 1e-9
"""Mean vectors shorter than this are rounding residue."""

EXPANSIONS = (3, 10, 30)
"""Numbers of nearest reference items that expand a query."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryExpansion:
    """Expands queries by reference items.

    Args:
        reference: the reference items, with their correction.
        hubness: (V, K) of the reference items.
    """

    reference: HubnessCorrection
    hubness: FloatArray

    @classmethod
    def of(cls, reference: HubnessCorrection) -> Self:
        """By the items of a hubness correction."""
        return cls(reference, reference.hubness(reference.items.vectors))

    def expand(self, queries: FloatArray) -> FloatArray:
        """(V, q, E, C) queries (q, C) expanded in each view."""
        nearest, weights = _nearest(self._similarities(queries))  # (q, B), (q, E, B)
        return np.stack([weights @ vectors[nearest] for vectors in self.reference.items.vectors])

    def _similarities(self, queries: FloatArray) -> FloatArray:
        """(q, K) hubness-corrected similarity to the reference items, mean over the views."""
        similarities: FloatArray = -self.hubness.mean(0)[None]
        for vectors in self.reference.items.vectors:
            cosines = queries @ vectors.T  # (q, K)
            cosines -= cosines.mean(1, keepdims=True)
            variance = np.einsum("qk,qk->q", cosines, cosines)[:, None] / cosines.shape[1]
            spread = (np.sqrt(variance) + 1e-6) * np.float32(len(self.hubness))
            similarities = similarities + cosines / spread
        return similarities


def _nearest(similarities: FloatArray) -> tuple[IntArray, FloatArray]:
    """(q, B) nearest reference items of (q, K), and their weights in each expansion (q, E, B).

    Weights fall exponentially with the similarity and sum to 1.
    """
    count = min(EXPANSIONS[-1], similarities.shape[1])
    best = np.argpartition(-similarities, count - 1, axis=1)[:, :count]
    best = np.take_along_axis(
        best, np.argsort(-np.take_along_axis(similarities, best, 1), axis=1), 1
    )
    scores = np.exp(2.0 * np.take_along_axis(similarities, best, 1))[:, None]
    weights = np.where(np.arange(count) < np.array(EXPANSIONS)[:, None], scores, 0.0)
    weights /= weights.sum(2, keepdims=True)
    return best.astype(np.int32), weights.astype(np.float32)


MAX_FEEDBACK_ITEMS = 8_192
"""Most items that are searched for feedback."""

DIRECTIONS = 192
"""Principal directions of their vectors that are searched by."""

FEEDBACK_DEPTHS = (5, 15, 40)
"""Numbers of top results that feedback is taken from."""

_TERM_WEIGHT = 0.5
"""Weight of the standardised term overlap beside the standardised cosine."""


@dataclass(frozen=True, slots=True, eq=False)
class ListedItems:
    """Items that are compared with a query.

    Args:
        all_views: (V, N, C) centred vectors of all items.
        views: (V, p, C) those of these items.
        titles: terms of their p titles.
    """

    all_views: FloatArray
    views: FloatArray
    titles: TermSets


@dataclass(frozen=True, slots=True, eq=False)
class RelevanceFeedback:
    """A sample of items that is searched for a query's top results.

    Args:
        items: (K,) their numbers.
        directions: (C, R) orthonormal.
        projected: (K, R) unit vectors of all views together, along the directions.
        words: inverted index of the words of their texts.
    """

    items: IntArray
    directions: FloatArray
    projected: FloatArray
    words: TermSets

    @classmethod
    def of(cls, views: FloatArray, words: TermOverlap) -> Self:
        """From items; sampled by seed 0 where there are too many.

        Args:
            views: (V, N, C) centred vectors.
            words: of them.
        """
        random = np.random.default_rng(0)
        items = np.sort(random.permutation(views.shape[1])[:MAX_FEEDBACK_ITEMS]).astype(np.int32)
        vectors = unit(views[:, items].mean(0), _SHORTEST)  # (K, C)
        directions = main_directions(vectors, DIRECTIONS)
        postings = words.postings.restrict(items, views.shape[1])
        return cls(items, directions, vectors @ directions, postings)

    def columns(
        self, query: tuple[FloatArray, Collection[str]], words: TermOverlap, listed: ListedItems
    ) -> FloatArray:
        """(p, 3 (V + 1) + 1) similarity of items to the top results of a query.

        For each of ``FEEDBACK_DEPTHS`` the cosines with the centroid of the top results (V), and
        the share of their rare terms in the item's title; last the coherence of the top results:
        the mean cosine with their own centroid.

        Args:
            query: its unit vector (C,) and its words.
            words: of all items.
            listed: the items to score.
        """
        vector, terms = query
        scores = _standardise(self.projected @ (vector @ self.directions))  # (K,)
        shares = words.share_sums(terms, self.words, len(self.items))
        scores += _TERM_WEIGHT * _standardise(shares)
        count = min(FEEDBACK_DEPTHS[-1], len(scores))
        best = np.argpartition(-scores, count - 1)[:count]
        best = best[np.argsort(-scores[best], kind="stable")]
        results, weights = self.items[best], _depth_weights(scores[best])  # (B,), (3, B)
        vectors = listed.all_views.take(results, axis=1)  # (V, B, C)
        centroids = unit(weights @ vectors, _SHORTEST)  # (V, 3, C)
        columns = np.empty((len(listed.titles), len(FEEDBACK_DEPTHS), len(vectors) + 1), np.float32)
        columns[:, :, :-1] = (listed.views @ centroids.transpose(0, 2, 1)).transpose(1, 2, 0)
        columns[:, :, -1] = words.with_titles(results, weights, listed.titles).T
        coherence = float((vectors[0] @ centroids[0, -1]).mean())
        flat = columns.reshape(len(columns), -1)
        return np.column_stack([flat, np.full(len(flat), coherence, np.float32)])


def _depth_weights(scores: FloatArray) -> FloatArray:
    """(3, B) weights of the top results for each depth, by their falling scores (B,)."""
    weights = np.exp(scores - scores[0])
    inside = np.where(np.arange(len(scores)) < np.array(FEEDBACK_DEPTHS)[:, None], weights, 0.0)
    shares: FloatArray = (inside / inside.sum(1, keepdims=True)).astype(np.float32)
    return shares


def _standardise(values: FloatArray) -> FloatArray:
    standardised: FloatArray = (values - values.mean()) / (values.std() + 1e-6)
    return standardised
