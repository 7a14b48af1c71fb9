"""Words of late items, beside the word index of a generation and with scores on its scale.

A second full index would have document frequencies of its own; this one has only postings and uses
the statistics of the built index: its BM25 (k1 = 1.2, b = .75, as in tantivy) gives a late item the
score it would have there.

Paper: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond.

Shapes: H items with a term, M items.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.search.documents import FIELDS, GENERATED, Document

K1 = 1.2
B = 0.75

_ALL_FIELDS = (*FIELDS, GENERATED)

Term: TypeAlias = tuple[str, str]
WeightedTerms: TypeAlias = tuple[Sequence[Term], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Statistics:
    """BM25 statistics of the built index; a term is that of a field."""

    num_documents: int
    lengths: Mapping[str, int]
    frequency: Callable[[str, str], int]


@dataclass(frozen=True, slots=True, eq=False)
class LateWords:
    """An immutable word index of late items.

    Args:
        terms: item -> its terms.
        postings: term -> items that have it, and what BM25 makes of its occurrences in each.
    """

    terms: Mapping[int, Collection[Term]] = field(default_factory=dict)
    postings: Mapping[Term, Mapping[int, float]] = field(default_factory=dict)
    _columns: dict[Term, tuple[IntArray, NDArray[np.float64]]] = field(default_factory=dict)

    def put(self, documents: Mapping[int, Document], statistics: Statistics) -> LateWords:
        """A copy with other documents of these items."""
        terms = {**self.terms}
        changed: dict[Term, dict[int, float]] = {}
        for item, document in documents.items():
            after = _weigh(document, statistics)
            for term in {*terms.get(item, ()), *after}:
                if term not in changed:
                    changed[term] = {**self.postings.get(term, {})}
                changed[term].pop(item, None)
                if term in after:
                    changed[term][item] = after[term]
            terms[item] = after.keys()
        return LateWords(terms, {**self.postings, **changed})

    def __len__(self) -> int:
        return len(self.terms)

    def __contains__(self, item: object) -> bool:
        return item in self.terms

    def scores(
        self, weighted_terms: Sequence[WeightedTerms], statistics: Statistics
    ) -> tuple[IntArray, FloatArray]:
        """Items (M,) that have one of the terms, ascending, and their BM25 (M,)."""
        hits = [
            (items, weights[name] * gains)
            for terms, weights in weighted_terms
            for name, term in terms
            if weights[name] > 0 and (name, term) in self.postings
            for items, gains in [self._gains((name, term), statistics)]
        ]
        if not hits:
            return NO_ITEMS, np.empty(0, np.float32)
        items, rows = np.unique(np.concatenate([part for part, _ in hits]), return_inverse=True)
        scores = np.bincount(rows, np.concatenate([part for _, part in hits]), len(items))
        return items, scores.astype(np.float32)

    def rarity(self, terms: Sequence[Term], statistics: Statistics) -> float:
        """Inverse document frequency, among all items, of the commonest of some terms."""
        frequency = max(
            statistics.frequency(*term) + len(self.postings.get(term, ())) for term in terms
        )
        total = statistics.num_documents + len(self)
        return math.log(1.0 + (total - frequency + 0.5) / (frequency + 0.5))

    def having_all(self, groups: Sequence[Sequence[Term]]) -> IntArray:
        """Items (M,), ascending, that have a term of each group; none without groups."""
        items, counts = self.covering(groups, [1.0] * len(groups))
        having: IntArray = items[(counts == len(groups)) & bool(groups)]
        return having

    def covering(
        self, groups: Sequence[Sequence[Term]], weights: Sequence[float]
    ) -> tuple[IntArray, FloatArray]:
        """Items (M,), ascending, with a term of a group, and the sums (M,) of these weights."""
        sums: defaultdict[int, float] = defaultdict(float)
        for group, weight in zip(groups, weights, strict=True):
            for item in {item for term in group for item in self.postings.get(term, ())}:
                sums[item] += weight
        items = np.array(sorted(sums), np.int32)
        return items, np.array([sums[item] for item in items.tolist()], np.float32)

    def _gains(self, term: Term, statistics: Statistics) -> tuple[IntArray, NDArray[np.float64]]:
        if term not in self._columns:
            posting = self.postings[term]
            parts = np.array([*posting], np.int32), np.array([*posting.values()])
            self._columns[term] = parts
        items, shares = self._columns[term]
        return items, self.rarity([term], statistics) * shares


def _weigh(document: Document, statistics: Statistics) -> dict[Term, float]:
    """Term -> its BM25 but for its rarity."""
    weights: dict[Term, float] = {}
    for name in _ALL_FIELDS:
        found = document.terms(name)
        total = statistics.lengths.get(name, 0)
        relative = len(found) * statistics.num_documents / total if total else 1.0
        for term, count in Counter(found).items():
            damped = count / (count + K1 * (1.0 - B + B * relative))
            weights[name, term] = (1.0 + K1) * damped
    return weights
