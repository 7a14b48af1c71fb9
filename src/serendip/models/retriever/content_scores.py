"""What content alone says, as further dimensions of the retriever's one space.

A request's vector is followed by the mean aligned content of its context and by its words, an
item's by its aligned content and its content as it was encoded, so that one dot product adds both
cosines to what the network says. It holds for items that nobody has chosen yet, which a network
that knows the others by heart underrates. Aligned content tells what is chosen next; words are
compared with content as it is, since alignment moves an item away from what it is called. How
much either counts depends on the task, and in search on whether the words were learned: that
changes the request's side only, so one index serves all of them. Plain numpy.

Shapes: B queries, N items, C content size.

Words that a retriever has learned, and what content counts beside its network for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.dataset import AlignedProjection
from serendip.data.query import Query
from serendip.data.text import normalise
from serendip.models.context import context_matrix
from serendip.models.linalg import scaled_rows, with_rows
from serendip.models.retriever.requests import NUM_TASKS, SEARCH, TASK_OF

_KEYS, _WEIGHTS = "known_words", "known_weights"


@dataclass(frozen=True, slots=True, eq=False)
class TrainedQueries:
    """Of words that were learned the network knows what is meant; of others content knows more.

    Args:
        keys: (W,) int64, ascending, one for each text that was learned; see ``text_keys``.
        weights: (2,) float32 factors of the cosines of the context and of such words.
    """

    keys: NDArray[np.int64]
    weights: FloatArray

    @classmethod
    def of(cls, texts: Iterable[str], weights: FloatArray) -> Self:
        """From the texts that were learned; one without any letter or digit is no words."""
        return cls(np.setdiff1d(text_keys(texts), text_keys([""])), weights)

    def know(self, texts: Sequence[str]) -> BoolArray:
        """(B,) which texts were learned, however they are written."""
        return np.isin(text_keys(texts), self.keys)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What is stored, by name."""
        return {_KEYS: self.keys, _WEIGHTS: self.weights}

    @classmethod
    def of_arrays(cls, stored: Mapping[str, NDArray[np.generic]]) -> Self | None:
        """What ``arrays`` gave; None in artefacts without it."""
        if _KEYS not in stored:
            return None
        return cls(stored[_KEYS].astype(np.int64), stored[_WEIGHTS].astype(np.float32))


def text_keys(texts: Iterable[str]) -> NDArray[np.int64]:
    """(n,) a number for each text: the same for those that ``normalise`` writes the same."""
    hashes = (
        hashlib.blake2b(normalise(text).encode(), digest_size=8, usedforsecurity=False).digest()
        for text in texts
    )
    return np.frombuffer(b"".join(hashes), "<i8").astype(np.int64)


DECAY = 0.5
"""Weight of an event of the context relative to the one after it."""


@dataclass(frozen=True, slots=True, eq=False)
class ContentScores:
    """Content of the items, aligned and plain, and what its cosines count.

    Args:
        projection: aligns content.
        aligned: (N, C) aligned unit vectors.
        weights: (tasks, 2) float32 factors of the two cosines in a score: of the context, and of
            the words where some were typed.
        plain: (N, C) unit vectors as they were encoded, with which words are compared; None =
            words are aligned and compared with aligned ones: where no words were learned, and in
            earlier artefacts.
        known: searches with words that were learned, which have weights of their own; None = all
            words count the same, as in earlier artefacts.
    """

    projection: AlignedProjection
    aligned: FloatArray
    weights: FloatArray
    plain: FloatArray | None = None
    known: TrainedQueries | None = None

    @property
    def vectors(self) -> FloatArray:
        """(N, 2 C) the items' side of a score: aligned, then plain; (N, C) without plain ones."""
        return self.aligned if self.plain is None else np.hstack([self.aligned, self.plain])

    def of_queries(self, queries: Sequence[Query]) -> FloatArray:
        """The request's side: (B, 2 C) context, then words, weighed; or (B, C) their sum."""
        context, words = self._context(queries), self._words(queries)
        return context + words if self.plain is None else np.hstack([context, words])

    def scores(self, queries: Sequence[Query]) -> FloatArray:
        """(B, N) ``of_queries(q) @ vectors.T``, without joining the two halves of the items."""
        context, words = self._context(queries), self._words(queries)
        if self.plain is None:
            return np.asarray((context + words) @ self.aligned.T, np.float32)
        scores = np.asarray(context @ self.aligned.T, np.float32)
        typed = np.flatnonzero(words.any(axis=1))
        if len(typed):
            scores[typed] += words[typed] @ self.plain.T
        return scores

    def _context(self, queries: Sequence[Query]) -> FloatArray:
        """(B, C) weighted mean of the aligned content of each request's context."""
        if not queries:
            return np.empty((0, self.aligned.shape[1]), np.float32)
        counts = context_matrix(queries, len(self.aligned), DECAY)
        totals: FloatArray = np.maximum(np.asarray(counts.sum(axis=1), np.float32), 1e-12)
        shares: FloatArray = self._weights_of(queries)[:, 0] / totals.ravel()
        return np.asarray(scaled_rows(counts, shares) @ self.aligned, np.float32)

    def _words(self, queries: Sequence[Query]) -> FloatArray:
        """(B, C) weighted words; zeros where none were typed."""
        found = np.zeros((len(queries), self.aligned.shape[1]), np.float32)
        weights = self._weights_of(queries)[:, 1]
        for row, query in enumerate(queries):
            if query.text_vector is not None:
                words = query.text_vector[None].astype(np.float32)
                words = self.projection.encode(words) if self.plain is None else words
                found[row] = weights[row] * words[0]
        return found

    def _weights_of(self, queries: Sequence[Query]) -> FloatArray:
        tasks = np.array([TASK_OF[query.surface] for query in queries], np.int64)
        weights = self.weights[tasks]
        if self.known is not None and (tasks == SEARCH).any():
            is_known = self.known.know([query.searched for query in queries]) & (tasks == SEARCH)
            weights = np.where(is_known[:, None], self.known.weights, weights)
        return weights

    def extended(self, content: FloatArray) -> ContentScores:
        """With new items after the known ones."""
        new = self.projection.encode(content)
        plain = None if self.plain is None else np.concatenate([self.plain, content])
        return replace(self, aligned=np.concatenate([self.aligned, new]), plain=plain)

    def changed(self, item_nums: IntArray, content: FloatArray) -> ContentScores:
        """With other content of some items."""
        new = self.projection.encode(content)
        plain = None if self.plain is None else with_rows(self.plain, item_nums, content)
        return replace(self, aligned=with_rows(self.aligned, item_nums, new), plain=plain)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What is stored, by name."""
        return {
            "aligned": self.aligned,
            "align_down": self.projection.down,
            "align_up": self.projection.up,
            "align_weights": self.weights,
            **({} if self.plain is None else {"plain": self.plain}),
            **({} if self.known is None else self.known.arrays()),
        }

    @classmethod
    def of_arrays(cls, stored: Mapping[str, FloatArray]) -> ContentScores:
        """What ``arrays`` gave."""
        projection = AlignedProjection(stored["align_down"], stored["align_up"])
        plain = stored["plain"] if "plain" in stored else None
        known = TrainedQueries.of_arrays(stored)
        return cls(projection, stored["aligned"], _weights(stored), plain, known)


def _weights(stored: Mapping[str, FloatArray]) -> FloatArray:
    """Earlier artefacts have one weight, of the words where some were typed, else of the context.

    Here search with words reads both; of those artefacts it gets the words alone.
    """
    if "align_weights" in stored:
        return stored["align_weights"]
    weights = np.full((NUM_TASKS, 2), stored["align_weight"], np.float32)
    weights[SEARCH, 0] = 0.0
    return weights
