"""Likeness of items: what two are and what is said of them, whoever chose them.

The likeness of an item to another is a mean of three cosines: of their content vectors, of the
words of their texts and of their attribute values (TF-IDF, weighed by ``term_weights``). Content
vectors are compared without their mean: those of a sentence encoder share a direction, which makes
an item near it similar to everything (Mu and Viswanath 2018, "All-but-the-Top"). A part that the
first item lacks does not count; one that only the second lacks counts 0, so that items about which
little is known are not like everything. It is at most 1. Two parts have exact matches: a vector
knows what a text means, and not that two films have one director.

The nearest items of each item are found in training, among those that are nearest by vector and
those that share most terms. The candidates of a request are the nearest items of its context and
the items that came later, and they are scored exactly: nothing is as long as the catalogue.

``floor`` is what random pairs reach: the 95th percentile of their likeness.

**Exact likeness**, by TF-IDF weights of the words and attribute values of items: a content vector
knows that two texts mean the same, not that two items have the same director. Here tokens count by
how rare they are (inverse document frequency, Sparck Jones 1972), and kinds of tokens count alike:
the values of each attribute are a vector of one length, so that a shared genre adds to a shared
director and is not lost beside it; the attributes of an item that has as many as others have length
1, and so have the words of its texts. What most items have, such as a currency, tells nothing.

Shapes: B queries, N items, N0 of them trained, E content size, V distinct terms, T distinct items
of a context, C candidates, M items, or late items.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from serendip.config import INTERNAL, Config
from serendip.data import NO_ITEMS, Artefact, Dataset, FloatArray, IntArray, Query, distinct, locate
from serendip.data.items.features import TEXT, WORD_OF_VALUE, ItemFeatures, Tokens
from serendip.data.rows.row_array import PackedRows, dot_items, dot_rows, late_numbers, put_rows
from serendip.errors import DataError
from serendip.models.base import Recommender, VoteEvidence
from serendip.models.context import Context, compute_context_weights, compute_contexts
from serendip.models.linalg import (
    Sparse,
    keep_top_entries,
    multiply_top,
    stack_rows,
    sum_entries,
    to_csr,
)
from serendip.models.query_scores import NeighbourScores, QueryScores
from serendip.models.sparse.content_neighbours import EXACT_COSINES, find_content_neighbours
from serendip.models.sparse.packed_sparse import LateSparse
from serendip.runtime.progress import TrainOptions

MOST_TERMS = 256
"""Terms of an item that count: those with the largest weights."""

_FEWEST = 2
"""Items that have a token; one that a single item has makes no two items alike."""

_MOST_WORDS, _MOST_VALUES = 0.2, 0.8
"""Shares of the items above which a word, and an attribute value, tell nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class TermWeights(Artefact):
    """Inverse document frequencies of tokens.

    Args:
        hashes: (V,) int64 tokens with their kinds, ascending.
        weights: (V,) float32.
        attributes: attributes that an item has, on average, at least 1.
    """

    hashes: NDArray[np.int64]
    weights: FloatArray
    attributes: float

    @classmethod
    def fit(cls, tokens: Tokens) -> Self:
        """Count the tokens of N items."""
        count = len(tokens)
        rows, hashes = _take_counted(tokens)
        kinds = _number_blocks(rows, hashes)[0][:, 1]  # (K,)
        hashes, items = np.unique(hashes, return_counts=True)
        most = count * np.where(hashes >> 32 == TEXT, _MOST_WORDS, _MOST_VALUES)
        counts = (items >= _FEWEST) & (items <= np.maximum(most, _FEWEST))
        weights = np.log((1.0 + count) / items[counts]).astype(np.float32)
        attributes = float((kinds != TEXT).sum()) / max(count, 1)
        return cls(hashes[counts], weights, max(attributes, 1.0))

    @property
    def count(self) -> int:
        """V."""
        return len(self.hashes)

    def build_rows(self, tokens: Tokens) -> Sparse:
        """Term vectors (M, V) of items: squared length 1 for words, about 1 for attributes."""
        rows, hashes = _take_counted(tokens)
        blocks, of_token = _number_blocks(rows, hashes)
        columns, is_known = locate(self.hashes, hashes)
        rows, columns, of_token = rows[is_known], columns[is_known], of_token[is_known]
        values = self.weights[columns]
        squares = np.bincount(of_token, values**2, len(blocks))
        squares = squares * np.where(blocks[:, 1] == TEXT, 1.0, self.attributes)
        values /= np.sqrt(squares[of_token]).astype(np.float32)
        order = np.lexsort((-values, rows))
        place = np.arange(len(order)) - np.searchsorted(rows[order], rows[order])
        kept = np.sort(order[place < MOST_TERMS])
        cells = (values[kept], (rows[kept], columns[kept]))
        matrix = to_csr(cells, (len(tokens), max(self.count, 1)))
        matrix.sort_indices()
        return matrix


def _take_counted(tokens: Tokens) -> tuple[IntArray, NDArray[np.int64]]:
    """Item and hash of each token, without words that only repeat attribute values."""
    rows = np.repeat(np.arange(len(tokens), dtype=np.int32), tokens.counts)
    counts = tokens.kinds != WORD_OF_VALUE
    return rows[counts], tokens.hashes[counts]


def _number_blocks(
    rows: IntArray, hashes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Blocks (K, 2), an item and a kind of its tokens each; and the block (T,) of each token."""
    keys = rows.astype(np.int64) << 32 | hashes >> 32
    blocks, of_token = np.unique(keys, return_inverse=True)
    return np.column_stack([blocks >> 32, blocks & 0xFFFFFFFF]), of_token.reshape(-1)


EXACT_UP_TO = 1_000
"""Largest number of items of a model that are all scored for every request."""

_MOST_NEAR = 300
"""Neighbours of a context that are scored exactly."""

_MOST_LATE = 1_000
"""Newest items that came after the training, which every request compares."""

_MOST_SHARED = 5_000
"""Items that have a term by which neighbours are found; a commoner one only adds to a score."""

_ROWS_PER_BLOCK = 1_024

_MEAN_WEIGHT = 100
"""Items that weigh as much as a mean of zero: the mean of a few items is what they say."""

_PAIRS, _PER_ITEM, _FLOOR = 4_000, 10, 0.95
"""Random pairs, those of one item, and the share of them that lies below the floor."""


_DECIMALS = 6
"""Of scores: what is equally like stays equal, whatever else is in a batch."""


class ContentSimilarityConfig(Config):
    """Neighbours per item, and weights of the events of a history."""

    num_neighbours: Annotated[int, INTERNAL] = Field(default=100, ge=1)
    """Neighbours stored per item: those that are most like it."""

    decay: Annotated[float, INTERNAL] = Field(default=0.5, gt=0, le=1)
    """Weight of an event relative to the next one."""


class ContentSimilarity(Recommender):
    """Score of j = weighted mean of the likeness of j to the items of the context, at most 1.

    Attributes:
        floor: 95 % of random pairs of items are less alike; 0 where nothing is known of items.
    """

    name = "content"
    config_class = ContentSimilarityConfig
    label = "What it is"
    score_kind = "similarity"
    evidence = VoteEvidence(
        "content",
        "Similar to {title}",
        covers_new_items=True,
        korean="‘{title}’{title:과/와} 비슷합니다",
    )
    state = ("floor", "_mean", "_norms", "_content", "_weights", "_terms", "_neighbours")
    config: ContentSimilarityConfig
    floor: float
    zero_means_unknown = False

    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        features = dataset.features
        if features is None:
            raise DataError(
                f"model {self.name!r} needs content features and the dataset has none.",
                "Call dataset.with_features(build_features(...)) first.",
            )
        self._content = features.content
        content = np.asarray(features.content)  # (N0, E)
        count = content.any(axis=1).sum() + _MEAN_WEIGHT
        self._mean = (content.sum(axis=0, dtype=np.float64) / count).astype(np.float32)
        self._norms = self._compute_norms(content)
        self._weights = TermWeights.fit(features.known_tokens)
        self._terms = LateSparse.of(self._weights.build_rows(features.known_tokens))
        self.floor = self.least_vote = self._measure_floor(dataset.num_items)
        self._neighbours = LateSparse.of(self._find_neighbours(dataset.num_items, options))

    def _compute_norms(self, content: FloatArray) -> FloatArray:
        """(N,) lengths of content vectors without the mean; infinite where there is no content."""
        blocks = [
            np.linalg.norm(content[begin : begin + _ROWS_PER_BLOCK] - self._mean, axis=1)
            for begin in range(0, len(content), _ROWS_PER_BLOCK)
        ]
        norms = np.maximum(np.concatenate([np.empty(0, np.float32), *blocks]), 1e-6)
        return np.where(content.any(axis=1), norms, np.inf).astype(np.float32)

    def _vectors_of(self, items: IntArray) -> FloatArray:
        vectors: FloatArray = (self._content[items] - self._mean) / self._norms[items][:, None]
        return vectors

    def _find_neighbours(self, count: int, options: TrainOptions) -> Sparse:
        """Likeness (N0, N0) of each item's neighbours; none where all items are scored anyway."""
        if count <= EXACT_UP_TO:
            return to_csr((count, count))
        numbers, steps = np.arange(count, dtype=np.int32), math.ceil(count / _ROWS_PER_BLOCK)
        is_exact = count**2 <= EXACT_COSINES
        rows = self._compare_all(numbers) if is_exact else self._compare_near(numbers)
        return stack_rows(options.progress.track(rows, "Comparing items", steps), count)

    def _compare_all(self, numbers: IntArray) -> Iterator[Sparse]:
        """Rows (R, N0) of the trained items that are most alike to M items, above the floor."""
        trained = np.arange(self._num_trained, dtype=np.int32)
        content = self._vectors_of(trained)  # (N0, E)
        columns = to_csr(self._terms.take(trained).T)  # (V, N0)
        for begin in range(0, len(numbers), _ROWS_PER_BLOCK):
            block = numbers[begin : begin + _ROWS_PER_BLOCK]
            vectors, terms = self._vectors_of(block), self._terms.take(block)  # (R, E), (R, V)
            scores = vectors @ content.T  # (R, N0)
            scores += (terms @ columns).toarray()
            scores /= _self_likeness(vectors, terms)[:, None]
            scores[scores <= self.floor] = 0.0
            scores[block[:, None] == trained] = 0.0
            yield keep_top_entries(to_csr(scores), self.config.num_neighbours)

    def _compare_near(self, numbers: IntArray) -> Iterator[Sparse]:
        """Rows (R, N0) of the most alike of the items that are near by vector or share terms."""
        terms, most = self._terms.whole(), self.config.num_neighbours
        owners = np.bincount(terms.indices, minlength=terms.shape[1])
        terms.data[owners[terms.indices] > _MOST_SHARED] = 0.0
        terms.eliminate_zeros()
        near = find_content_neighbours(self._content, numbers, self._content, most)
        near = to_csr(near + multiply_top(terms, to_csr(terms.T), most))
        for begin in range(0, len(numbers), _ROWS_PER_BLOCK):
            block = slice(begin, begin + _ROWS_PER_BLOCK)
            yield self._compare(numbers[block], to_csr(near[block]))

    def _compare(self, numbers: IntArray, near: Sparse) -> Sparse:
        """Likeness (R, N0) to items (R,) of the most alike ones among the entries of ``near``."""
        content, terms = self._vectors_of(numbers), self._terms.take(numbers)  # (R, E), (R, V)
        rows, items = _rows_of(near), near.indices  # (C,) each
        scores = np.empty(len(items), np.float32)
        for vector, begin, end in zip(content, near.indptr[:-1], near.indptr[1:], strict=True):
            of_row = slice(begin, end)
            scores[of_row] = dot_items(self._content, items[of_row], vector) - self._mean @ vector
        scores /= self._norms[items]
        scores += terms[rows].multiply(self._terms.take(items)).sum(1)
        scores /= _self_likeness(content, terms)[rows]
        scores[items == numbers[rows]] = 0.0
        found = (np.round(np.maximum(scores, 0.0), _DECIMALS), items, near.indptr)
        return keep_top_entries(to_csr(found, near.shape), self.config.num_neighbours)

    @property
    def _num_trained(self) -> int:
        return self._terms.base.shape[0]

    def _measure_floor(self, count: int) -> float:
        """Likeness that 5 % of the random pairs of the trained items exceed."""
        if count < 2:
            return 0.0
        random, scores = np.random.default_rng(0), []
        for first in random.integers(0, count, _PAIRS // _PER_ITEM):
            others = (first + random.integers(1, count, _PER_ITEM)) % count
            context = np.array([first], np.int32), np.ones(1, np.float32)
            vectors, terms = self._encode([context])
            scores.append(self._score(vectors[0], terms[0], others.astype(np.int32)))
        return max(float(np.quantile(np.concatenate(scores), _FLOOR)), 0.0)

    def _encode(self, contexts: Sequence[Context]) -> tuple[FloatArray, FloatArray]:
        """Vectors (B, E) and terms (B, V) whose products with those of an item are its scores."""
        vectors = np.zeros((len(contexts), self._content.shape[1]), np.float32)
        terms = np.zeros((len(contexts), self._terms.base.shape[1]), np.float32)
        for row, (items, weights) in enumerate(contexts):
            if not len(items):
                continue
            content, rows = self._vectors_of(items), self._terms.take(items)  # (T, E), (T, V)
            of_items = _rows_of(rows)
            # Divided by the likeness to itself: what an item lacks does not count.
            shares = weights / (weights.sum() * _self_likeness(content, rows))
            shares = shares.astype(np.float32)  # (T,)
            vectors[row] = shares @ content
            np.add.at(terms[row], rows.indices, rows.data * shares[of_items])
        return vectors, terms

    def _score(self, vector: FloatArray, terms: FloatArray, items: IntArray) -> FloatArray:
        """Likeness (C,) of items to what ``_encode`` made of a context."""
        scores: FloatArray = dot_items(self._content, items, vector) - self._mean @ vector
        scores /= self._norms[items]
        scores += self._terms.dot(items, terms)
        return np.round(scores, _DECIMALS)

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        contexts = compute_contexts(queries, self._num_items, self.config.decay)
        vectors, terms = self._encode(contexts)
        scores: FloatArray = dot_rows(vectors, self._content)  # (B, N)
        scores -= (vectors @ self._mean)[:, None]
        scores /= np.asarray(self._norms)
        scores += (self._terms.whole() @ terms.T).T
        return np.round(scores, _DECIMALS)

    def _query_scores(self, queries: Sequence[Query]) -> QueryScores | None:
        if self._num_items <= EXACT_UP_TO:
            return None
        contexts = compute_contexts(queries, self._num_items, self.config.decay)
        vectors, terms = self._encode(contexts)

        def score(row: int, items: IntArray) -> FloatArray:
            return self._score(vectors[row], terms[row], items)

        return NeighbourScores([self._near(*one) for one in contexts], score, self._num_items)

    def _near(self, items: IntArray, weights: FloatArray) -> IntArray:
        """Items that may be most like a context: neighbours of its items, and late items."""
        if not len(items):
            return NO_ITEMS
        rows = self._neighbours.take(items)  # (T, N0)
        near, sums = sum_entries(rows.indices, rows.data * np.repeat(weights, np.diff(rows.indptr)))
        if len(near) > _MOST_NEAR:
            near = near[np.argpartition(-sums, _MOST_NEAR)[:_MOST_NEAR]]
        return distinct(np.concatenate([near, late_numbers(self._content)[-_MOST_LATE:]]))

    def votes(self, query: Query, item_nums: IntArray) -> tuple[IntArray, FloatArray]:
        """Items (T,) of the context and the likeness (T, C) of C items to each."""
        items, _ = compute_context_weights(query, self.num_items, self.config.decay)
        content, terms = self._vectors_of(items), self._terms.take(items)  # (T, E), (T, V)
        votes = content @ self._vectors_of(item_nums).T  # (T, C)
        votes += (terms @ self._terms.take(item_nums).T).toarray()
        votes /= _self_likeness(content, terms)[:, None]
        return items, votes

    def _with_late(self, item_nums: IntArray, features: ItemFeatures) -> Self:
        model = copy.copy(self)
        model._content = put_rows(self._content, item_nums, features.content)
        model._norms = put_rows(self._norms, item_nums, self._compute_norms(features.content))
        rows = self._weights.build_rows(features.known_tokens)
        model._terms = self._terms.put(item_nums, rows)
        rows = model._compare_late(item_nums, features)
        model._neighbours = self._neighbours.put(item_nums, rows)
        return model

    def _compare_late(self, numbers: IntArray, features: ItemFeatures) -> Sparse:
        """Neighbours (M, N0) of late items among the trained ones."""
        count = self._num_trained
        if features.near is None:
            return stack_rows(self._compare_all(numbers), count)
        near = [distinct(items[(items >= 0) & (items < count)]) for items in features.near]
        items, starts = np.concatenate([NO_ITEMS, *near]), np.cumsum([0, *map(len, near)])
        cells = np.ones(len(items), np.float32), items, starts
        return self._compare(numbers, to_csr(cells, (len(near), count)))

    def _stored(self) -> dict[str, Any]:
        return {**super()._stored(), "_content": PackedRows.of(self._content)}

    def _restore(self, learned: Mapping[str, Any]) -> None:
        super()._restore(learned)
        self.least_vote = self.floor


def _rows_of(terms: Sparse) -> NDArray[np.intp]:
    return np.repeat(np.arange(terms.shape[0]), np.diff(terms.indptr))


def _self_likeness(content: FloatArray, terms: Sparse) -> FloatArray:
    """Products (T,) of items with themselves, of content (T, E) and terms (T, V); not 0."""
    squares = np.bincount(_rows_of(terms), terms.data**2, len(content)) + (content**2).sum(1)
    return np.asarray(np.maximum(squares, 1e-6), np.float32)
