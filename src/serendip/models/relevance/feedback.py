"""Pseudo-relevance feedback: similarity of an item to the centroid of a query's top results.

A short query has little text; its top results by vectors and by words show what else belongs to it
(Rocchio 1971; for words the relevance model of Lavrenko and Croft 2001). The feedback depends on
the items that are searched for it only, not on the other items of the request.

Shapes: n items, p pairs of a query, V views, K searched items, B nearest items, C size of a text
vector, R directions.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.numeric import unit
from serendip.models.linalg import main_directions
from serendip.models.relevance.term_overlap import TermOverlap, TermSets

_SHORTEST = 1e-9
"""Mean vectors shorter than this are rounding residue."""

MAX_FEEDBACK_ITEMS = 8_192

DIRECTIONS = 192
"""Principal directions of their vectors that are searched by."""

FEEDBACK_DEPTHS = (5, 15, 40)
"""Numbers of top results that feedback is taken from."""

_TERM_WEIGHT = 0.5
"""Weight of the standardised term overlap beside the standardised cosine."""


@dataclass(frozen=True, slots=True, eq=False)
class RelevanceFeedback:
    """A sample of items that is searched for a query's top results.

    Args:
        views: (V, N, C) centred vectors of all items.
        items: (K,) numbers of the sample.
        directions: (C, R) orthonormal.
        projected: (K, R) unit vectors of all views together, along the directions.
    """

    views: FloatArray
    items: IntArray
    directions: FloatArray
    projected: FloatArray
    words: TermSets

    @classmethod
    def of(cls, views: FloatArray, words: TermOverlap) -> Self:
        """From items and their centred vectors (V, N, C); sampled, by seed 0, if too many."""
        random = np.random.default_rng(0)
        items = np.sort(random.permutation(views.shape[1])[:MAX_FEEDBACK_ITEMS]).astype(np.int32)
        vectors = unit(views[:, items].mean(0), _SHORTEST)  # (K, C)
        directions = main_directions(vectors, DIRECTIONS)
        postings = words.postings.restrict(items, views.shape[1])
        return cls(views, items, directions, vectors @ directions, postings)

    def columns(
        self,
        query: tuple[FloatArray, Collection[str]],
        words: TermOverlap,
        views: FloatArray,
        titles: TermSets,
    ) -> FloatArray:
        """(p, 3 (V + 1) + 1) similarity of items to the top results of a query, its vector and
        words.

        For each of ``FEEDBACK_DEPTHS`` the cosines with the centroid of the top results (V), and
        the share of their rare terms in the item's title; last the coherence of the top results:
        the mean cosine with their own centroid. Words are those of all items; views (V, p, C) and
        titles those of the items to score.
        """
        vector, terms = query
        scores = _standardise(self.projected @ (vector @ self.directions))  # (K,)
        shares = words.share_sums(terms, self.words, len(self.items))
        scores += _TERM_WEIGHT * _standardise(shares)
        count = min(FEEDBACK_DEPTHS[-1], len(scores))
        best = np.argpartition(-scores, count - 1)[:count]
        best = best[np.argsort(-scores[best], kind="stable")]
        results, weights = self.items[best], _depth_weights(scores[best])  # (B,), (3, B)
        vectors = self.views.take(results, axis=1)  # (V, B, C)
        centroids = unit(weights @ vectors, _SHORTEST)  # (V, 3, C)
        columns = np.empty((len(titles), len(FEEDBACK_DEPTHS), len(vectors) + 1), np.float32)
        columns[:, :, :-1] = (views @ centroids.transpose(0, 2, 1)).transpose(1, 2, 0)
        columns[:, :, -1] = words.with_titles(results, weights, titles).T
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
