"""Postings of the items posted since the word index was built, with scores on its scale.

A second full index would have document frequencies of its own; this one has only postings and uses
the statistics of the built index: its BM25 (k1 = 1.2, b = .75, as in tantivy) gives a posted item
the score it would have there. Postings are append-only and shared by the indexes that were made one
from another: each reads the documents that it was made with, and of an item the newest one.

Paper: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond.

Shapes: D documents, H of them with a term, M items.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.search.documents import FIELDS, GENERATED, Document

K1 = 1.2
B = 0.75

_NEVER = 2**31 - 1
_ALL_FIELDS = (*FIELDS, GENERATED)

Term: TypeAlias = tuple[str, str]
"""(field, term)."""

WeightedTerms: TypeAlias = tuple[Sequence[Term], Mapping[str, float]]
"""Terms of a query and the weights of their fields."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """BM25 statistics of the built index.

    Args:
        num_documents: number of items.
        lengths: field -> total number of terms of all items.
        frequency: (field, term) -> number of items with the term.
    """

    num_documents: int
    lengths: Mapping[str, int]
    frequency: Callable[[str, str], int]


def _numbers() -> array[int]:
    return array("i")


@dataclass(slots=True)
class _Postings:
    """What indexes share; D documents in order of arrival.

    Args:
        items: item of each document.
        outdated: number of documents at the time at which its item got a newer one.
        lengths: field -> number of terms of each document.
        documents: term -> documents that have it.
        counts: term -> its occurrences in each of them.
        newest: item -> its newest document.
    """

    items: array[int] = field(default_factory=_numbers)
    outdated: array[int] = field(default_factory=_numbers)
    lengths: dict[str, array[int]] = field(
        default_factory=lambda: {name: _numbers() for name in _ALL_FIELDS}
    )
    documents: defaultdict[Term, array[int]] = field(default_factory=lambda: defaultdict(_numbers))
    counts: defaultdict[Term, array[int]] = field(default_factory=lambda: defaultdict(_numbers))
    newest: dict[int, int] = field(default_factory=dict)

    def add(self, item: int, terms: Mapping[Term, int], lengths: Mapping[str, int]) -> None:
        """Append one document."""
        document = len(self.items)
        for name, length in lengths.items():
            self.lengths[name].append(length)
        for term, count in terms.items():
            # Counts first: a reader takes as many of them as it sees documents.
            self.counts[term].append(count)
            self.documents[term].append(document)
        if item in self.newest:
            self.outdated[self.newest[item]] = document
        self.newest[item] = document
        self.outdated.append(_NEVER)
        self.items.append(item)

    def first(self, size: int) -> _Postings:
        """A copy with the first ``size`` documents only."""
        terms: list[dict[Term, int]] = [{} for _ in range(size)]
        for term, documents in self.documents.items():
            for document, count in zip(documents, self.counts[term], strict=True):
                if document < size:
                    terms[document][term] = count
        copy = _Postings()
        for document in range(size):
            lengths = {name: self.lengths[name][document] for name in _ALL_FIELDS}
            copy.add(self.items[document], terms[document], lengths)
        return copy


class RecentItemsIndex:
    """Immutable index of a few items."""

    __slots__ = ("_num_items", "_postings", "_size")

    def __init__(self) -> None:
        self._postings, self._size, self._num_items = _Postings(), 0, 0

    def __len__(self) -> int:
        return self._num_items

    def with_documents(self, documents: Mapping[int, Document]) -> RecentItemsIndex:
        """An index with more items by item number; existing ones are replaced."""
        postings = self._postings
        if len(postings.items) != self._size:
            postings = postings.first(self._size)
        for item, document in documents.items():
            terms = {
                (name, term): count
                for name in _ALL_FIELDS
                for term, count in Counter(document.terms(name)).items()
            }
            lengths = {name: len(document.terms(name)) for name in _ALL_FIELDS}
            postings.add(item, terms, lengths)
        index = RecentItemsIndex()
        index._postings, index._size = postings, len(postings.items)
        index._num_items = len(postings.newest)
        return index

    def scores(
        self, weighted_terms: Sequence[WeightedTerms], statistics: Statistics
    ) -> tuple[IntArray, FloatArray]:
        """Posted items (M,) that have one of the terms, ascending, and their BM25 (M,)."""
        hits = [
            (documents, weights[name] * gains)
            for terms, weights in weighted_terms
            for name, term in terms
            if weights[name] > 0 and (name, term) in self._postings.documents
            for documents, gains in [self._gains((name, term), statistics)]
        ]
        if not hits:
            return NO_ITEMS, np.empty(0, np.float32)
        documents = np.concatenate([np.empty(0, np.int32), *(part for part, _ in hits)])
        gains = np.concatenate([np.empty(0), *(part for _, part in hits)])
        distinct, rows = np.unique(documents, return_inverse=True)
        items = self._items(distinct)
        order = np.argsort(items)
        scores = np.bincount(rows, gains, len(distinct))[order]
        return items[order], scores.astype(np.float32)

    def having_all(self, groups: Sequence[Sequence[Term]]) -> IntArray:
        """Posted items (M,), ascending, that have a term of each group; none without groups."""
        none = np.empty(0, np.int32)
        have = [
            np.concatenate([none, *(self._find(term)[0] for term in group)]) for group in groups
        ]
        return np.sort(self._items(reduce(np.intersect1d, have) if have else none))

    def _items(self, documents: IntArray) -> IntArray:
        return _copy(self._postings.items, self._size)[documents]

    def _find(self, term: Term) -> tuple[IntArray, IntArray]:
        """Documents (H,) of this index that have a term, and its occurrences (H,)."""
        found = self._postings.documents.get(term)
        if found is None:
            return np.empty(0, np.int32), np.empty(0, np.int32)
        documents = _copy(found, len(found))
        counts = _copy(self._postings.counts[term], len(documents))
        documents = documents[documents < self._size]
        outdated = _copy(self._postings.outdated, self._size)
        is_newest = outdated[documents] >= self._size
        return documents[is_newest], counts[: len(documents)][is_newest]

    def _gains(self, term: Term, statistics: Statistics) -> tuple[IntArray, NDArray[np.float64]]:
        """Documents (H,) with a term, and its unweighted BM25 (H,)."""
        documents, counts = self._find(term)
        name = term[0]
        total = statistics.num_documents + self._num_items
        frequency = statistics.frequency(*term) + len(documents)
        rarity = math.log(1.0 + (total - frequency + 0.5) / (frequency + 0.5))
        lengths = _copy(self._postings.lengths[name], self._size)
        relative = lengths[documents] / self._mean_length(name, lengths, statistics)
        damped = counts / (counts + K1 * (1.0 - B + B * relative))
        return documents, rarity * (1.0 + K1) * damped

    def _mean_length(self, name: str, lengths: IntArray, statistics: Statistics) -> float:
        if statistics.num_documents and statistics.lengths[name]:
            return statistics.lengths[name] / statistics.num_documents
        is_newest = _copy(self._postings.outdated, self._size) >= self._size
        return max(float(lengths[is_newest].sum()) / max(self._num_items, 1), 1.0)


def _copy(values: array[int], size: int) -> IntArray:
    """The first values as an array of their own: a view would stop the writer from appending."""
    return np.frombuffer(values[:size], np.int32)
