"""Term overlap of queries and items, weighted by inverse document frequency (IDF).

IDF (Spaerck Jones 1972): a term that few items have says more about a match than a frequent one.

Shapes: N items, W terms of the vocabulary, T terms of all texts, n feedback items, p pairs of one
query.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import Artefact, FloatArray, IntArray

OVERLAPS = ("in title", "in text", "in both", "rarest")
"""Columns of ``TermOverlap.overlaps``."""


@dataclass(frozen=True, slots=True, eq=False)
class TermSets(Artefact):
    """Sets of terms of N texts, in compressed sparse row format.

    Args:
        terms: (T,) int32 numbers of terms, text by text.
        starts: (N + 1,) int64 where each text begins.
    """

    terms: IntArray
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[Collection[str]], numbers: dict[str, int]) -> Self:
        """From sets of terms that all have a number."""
        # In order of their numbers: sets have none, and sums must be the same in every process.
        flat = [number for terms in texts for number in sorted(map(numbers.__getitem__, terms))]
        return cls(np.array(flat, np.int32), np.cumsum([0, *map(len, texts)]))

    def invert(self, num_terms: int) -> TermSets:
        """Inverted index: ``terms`` are numbers of texts (T,), ``starts`` is (W + 1,)."""
        text_of = np.repeat(np.arange(len(self.starts) - 1, dtype=np.int32), np.diff(self.starts))
        order = np.argsort(self.terms, kind="stable")
        counts = np.bincount(self.terms, minlength=num_terms)
        return TermSets(text_of[order], np.concatenate([[0], counts.cumsum()]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def lengths(self) -> NDArray[np.int64]:
        """(N,) number of terms of each text."""
        return np.diff(self.starts)

    def take(self, texts: IntArray) -> TermSets:
        """The sets of some texts (p,), in that order."""
        begins, lengths = self.starts[texts], self.starts[texts + 1] - self.starts[texts]
        starts = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        places = np.arange(starts[-1]) + np.repeat(begins - starts[:-1], lengths)
        return TermSets(self.terms.take(places), starts)

    def sum_values(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, ...) sums over each text of the values (T, ...) of its terms."""
        sums = np.zeros((len(self), *values.shape[1:]))
        filled = np.flatnonzero(self.starts[1:] > self.starts[:-1])
        if len(filled):
            begins = self.starts[filled]
            sums[filled] = np.add.reduceat(values, begins, axis=0, dtype=np.float64)
        return sums

    def sum_weights(self, weights: FloatArray) -> FloatArray:
        """(N,) sum of the weights (W,) of the terms of each text."""
        return self.sum_values(weights.take(self.terms)).astype(np.float32)

    def restrict(self, texts: IntArray, num_texts: int) -> TermSets:
        """Of an inverted index the postings of some texts (K, ascending), numbered from 0."""
        if len(texts) == num_texts:
            return self
        number_of = np.full(num_texts, -1, np.int32)
        number_of[texts] = np.arange(len(texts), dtype=np.int32)
        numbers = number_of[self.terms]
        kept = np.append(0, np.cumsum(numbers >= 0))
        return TermSets(numbers[numbers >= 0], kept[self.starts])


@dataclass(frozen=True, slots=True, eq=False)
class TextMatch:
    """What the texts of some items have of a query.

    Args:
        shares: (p,) share of the query's IDF in each text.
        rarest: (p,) largest IDF of a term of the query that the text has.
    """

    shares: FloatArray
    rarest: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class TermOverlap(Artefact):
    """Terms of N items with their IDF.

    Args:
        idf: (W,) log(N / number of items with the term).
        unknown_idf: IDF of a term that no item has.
        postings: inverted index of titles and texts.
    """

    numbers: dict[str, int]
    idf: FloatArray
    unknown_idf: float
    titles: TermSets
    postings: TermSets

    @classmethod
    def of(cls, titles: Sequence[Collection[str]], texts: Sequence[Collection[str]]) -> Self:
        """From sets of terms; the set of a text includes that of its title."""
        vocabulary = dict.fromkeys(term for terms in texts for term in sorted(terms))
        numbers = {term: place for place, term in enumerate(vocabulary)}
        term_sets = TermSets.of(texts, numbers)
        counts = np.bincount(term_sets.terms, minlength=len(numbers))
        idf = np.log(len(texts) / counts).astype(np.float32)
        unknown_idf, postings = float(np.log(len(texts) + 1)), term_sets.invert(len(numbers))
        return cls(numbers, idf, unknown_idf, TermSets.of(titles, numbers), postings)

    def total_idf(self, query: Collection[str]) -> float:
        """Sum of the IDF of a query's terms."""
        terms = self._numbers(query)
        return float(self.idf[terms].sum()) + self.unknown_idf * (len(query) - len(terms))

    def overlaps(self, query: Collection[str], match: TextMatch, titles: TermSets) -> FloatArray:
        """(p, 4) ``OVERLAPS`` of a query with some items, their match with it and their titles.

        The share of the query's IDF in the title and in the text, the Jaccard index of query and
        title, and the largest IDF of a query term that the text has.
        """
        columns = self.in_title(query, titles), match.shares, self.in_both(query, titles)
        return np.column_stack([*columns, match.rarest]).astype(np.float32)

    def in_title(self, query: Collection[str], titles: TermSets) -> FloatArray:
        """(p,) share of the query's IDF in some titles."""
        terms = self._numbers(query)
        if not len(terms):
            return np.zeros(len(titles), np.float32)
        weights = np.zeros(len(self.idf), np.float32)
        weights[terms] = self.idf[terms]
        shares: FloatArray = titles.sum_weights(weights) / (self.total_idf(query) or 1.0)
        return shares

    def match_texts(self, query: Collection[str], items: IntArray) -> TextMatch:
        """What the texts of some items (p,) have of a query."""
        sums, largest = np.zeros((2, len(items)), np.float32)
        for term in self._rarest_last(query):  # so that it overwrites ``largest``
            begin, end = self.postings.starts[term : term + 2]
            texts = self.postings.terms[begin:end]  # ascending
            places = np.searchsorted(texts, items)
            has_term = texts[np.minimum(places, end - begin - 1)] == items
            sums[has_term] += self.idf[term]
            largest[has_term] = self.idf[term]
        return TextMatch(sums / (self.total_idf(query) or 1.0), largest)

    def share_sums(self, query: Collection[str], postings: TermSets, count: int) -> FloatArray:
        """(count,) share of a query's IDF in each text of an inverted index with these terms."""
        sums = np.zeros(count, np.float32)
        for term in self._rarest_last(query):
            begin, end = postings.starts[term : term + 2]
            sums[postings.terms[begin:end]] += self.idf[term]
        shares: FloatArray = sums / (self.total_idf(query) or 1.0)
        return shares

    def _rarest_last(self, query: Collection[str]) -> list[int]:
        """Numbers of the query's terms that some item has, by ascending IDF."""
        terms = self._numbers(query)
        rarest_last: list[int] = terms[np.argsort(self.idf[terms], kind="stable")].tolist()
        return rarest_last

    def with_titles(self, feedback: IntArray, weights: FloatArray, titles: TermSets) -> FloatArray:
        """(D, p) weighted shares of the terms of feedback titles (n,) that other titles (p,) have.

        Divided by the square root of a title's length plus 1, as long titles share terms by chance.
        Weights (D, n) are those of the feedback items, D times.
        """
        known = self.titles.take(feedback)
        terms, places = np.unique(known.terms, return_inverse=True)  # (U,)
        of_terms = weights[:, np.repeat(np.arange(len(feedback)), known.lengths())]
        of_terms = of_terms * self.idf[known.terms]  # (D, terms of feedback titles)
        sums = np.zeros((len(terms) + 1, len(weights)))  # (U + 1, D), the first for other terms
        for depth, one in enumerate(of_terms):
            sums[1:, depth] = np.bincount(places, one, len(terms))
        row_of = np.zeros(len(self.idf), np.int32)
        row_of[terms] = np.arange(1, len(terms) + 1)
        shared = titles.sum_values(sums.take(row_of.take(titles.terms), axis=0))  # (p, D)
        totals = sums.sum(0)  # (D,)
        lengths = np.sqrt(1.0 + titles.lengths())[:, None]  # (p, 1)
        shares: FloatArray = (shared / np.where(totals == 0.0, 1.0, totals) / lengths).T
        return shares.astype(np.float32)

    def in_both(self, query: Collection[str], titles: TermSets) -> FloatArray:
        """(p,) Jaccard index of the terms of a query and of some titles."""
        weights = np.zeros(len(self.idf), np.float32)
        weights[self._numbers(query)] = 1.0
        shared = titles.sum_weights(weights)
        union = len(query) + titles.lengths() - shared
        return np.asarray(shared / np.maximum(1.0, union), np.float32)

    def _numbers(self, query: Collection[str]) -> NDArray[np.int64]:
        known = sorted(self.numbers[term] for term in query if term in self.numbers)
        return np.array(known, np.int64)
