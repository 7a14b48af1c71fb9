"""Content similarity as extra dimensions of the retriever's vector space. Plain numpy.

The request vector is extended by the mean aligned content of its context and by its text vector,
the item vector by its aligned content and its content as encoded, so that one dot product adds both
cosines to the network's score. This also scores items without events, which a network that has
memorised the others underrates. Aligned content predicts what is chosen next; texts are compared
with content as encoded, since alignment moves an item away from what it is called.

The weights of the two cosines depend on the task, and in search on whether the query was trained
(``TrainedQueries``): the network knows what trained queries mean, for others content knows more.
Weights change only the request's side, so one index serves all of them.

Shapes: B queries, N items, W trained queries, C content size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import Artefact, BoolArray, FloatArray, IntArray, Query, locate, normalise
from serendip.data.rows.aligned_rows import AlignedRows
from serendip.data.rows.row_array import dot_items, dot_rows
from serendip.models.context import compute_contexts
from serendip.models.retriever.requests import SEARCH, TASK_OF


@dataclass(frozen=True, slots=True, eq=False)
class TrainedQueries(Artefact):
    """Query texts seen in training, as hashes, and the content weights for them.

    Args:
        keys: (W,) int64, ascending, one for each trained text; see ``text_keys``.
        weights: (2,) float32 weights of the context's and of the text's cosine for these queries.
    """

    keys: NDArray[np.int64]
    weights: FloatArray

    @classmethod
    def of(cls, texts: Iterable[str], weights: FloatArray) -> Self:
        """Build from the trained texts; texts without any letter or digit are left out."""
        return cls(np.setdiff1d(text_keys(texts), text_keys([""])), weights)

    def know(self, texts: Sequence[str]) -> BoolArray:
        """Mask (B,) of the texts that were trained, up to normalisation (case, accents, ...)."""
        return locate(self.keys, text_keys(texts))[1]


def text_keys(texts: Iterable[str]) -> NDArray[np.int64]:
    """Hash each text to 64 bits: (n,); equal for texts with the same ``normalise`` form."""
    hashes = (
        hashlib.blake2b(normalise(text).encode(), digest_size=8, usedforsecurity=False).digest()
        for text in texts
    )
    return np.frombuffer(b"".join(hashes), "<i8").astype(np.int64)


DECAY = 0.5
"""Recency decay: weight of a context event relative to the next newer one."""


@dataclass(frozen=True, slots=True, eq=False)
class ContentScores(Artefact):
    """Content scores: item content, aligned and as encoded, and the weights of its cosines.

    Args:
        weights: (tasks, 2) float32 weights of the context's cosine and of the text's cosine.
        known: trained queries, which have weights of their own in search; None = all queries have
            the same weights.
    """

    aligned: AlignedRows
    weights: FloatArray
    known: TrainedQueries | None = None

    def vectors_of(self, items: slice | NDArray[np.integer]) -> FloatArray:
        """Item side of the dot product: aligned content, then content as encoded (M, 2 C)."""
        return np.hstack([self.aligned[items], self.aligned.content[items]])

    @property
    def size(self) -> int:
        """2 C."""
        return 2 * int(self.aligned.shape[1])

    def scores_of(self, query: FloatArray, items: IntArray) -> FloatArray:
        """Scores (C,) of items for one row (2 C,) of ``of_queries``."""
        width = self.aligned.shape[1]
        context, text = query[:width], query[width:]
        scores = np.zeros(len(items), np.float32)
        if context.any():
            scores += self.aligned.dot_items(items, context)
        if text.any():
            scores += dot_items(self.aligned.content, items, text)
        return scores

    def of_queries(self, queries: Sequence[Query]) -> FloatArray:
        """Request side of the dot product: weighted context, then text (B, 2 C)."""
        return np.hstack([self._context(queries), self._texts(queries)])

    def scores_of_all(self, queries: FloatArray) -> FloatArray:
        """Products (B, N) of rows (B, 2 C) of ``of_queries`` and all ``vectors_of``."""
        width = self.aligned.shape[1]
        context, texts = queries[:, :width], queries[:, width:]  # (B, C) each
        scores = self.aligned.dot(context)  # (B, N)
        with_text = np.flatnonzero(texts.any(axis=1))
        if len(with_text):
            scores[with_text] += dot_rows(texts[with_text], self.aligned.content)
        return scores

    def _context(self, queries: Sequence[Query]) -> FloatArray:
        """Weighted mean (B, C) of the aligned content of each request's context."""
        means = np.zeros((len(queries), self.aligned.shape[1]), np.float32)
        for row, (items, weights) in enumerate(compute_contexts(queries, len(self.aligned), DECAY)):
            if len(items):
                means[row] = self.aligned.mean(items, weights)
        return self._weights_of(queries)[:, :1] * means if queries else means

    def _texts(self, queries: Sequence[Query]) -> FloatArray:
        """Weighted text vectors (B, C); zeros for requests without a text."""
        vectors = np.zeros((len(queries), self.aligned.shape[1]), np.float32)
        weights = self._weights_of(queries)[:, 1]
        for row, query in enumerate(queries):
            if query.text_vector is not None:
                vectors[row] = weights[row] * query.text_vector.astype(np.float32)
        return vectors

    def _weights_of(self, queries: Sequence[Query]) -> FloatArray:
        """Weights (B, 2) of each request's two cosines: of its task, or of trained queries."""
        tasks = np.array([TASK_OF[query.task] for query in queries], np.int64)  # (B,)
        weights = self.weights[tasks]  # (B, 2)
        if self.known is not None and (tasks == SEARCH).any():
            is_trained = self.known.know([query.searched for query in queries]) & (tasks == SEARCH)
            weights = np.where(is_trained[:, None], self.known.weights, weights)
        return weights

    def put(self, item_nums: IntArray, content: FloatArray) -> ContentScores:
        """A copy with other content of items (M,), see ``LateRows.put``."""
        return replace(self, aligned=self.aligned.put(item_nums, content))
