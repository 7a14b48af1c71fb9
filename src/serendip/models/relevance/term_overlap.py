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

from serendip.data.arrays import FloatArray, IntArray

OVERLAPS = ("in title", "in text", "in both", "rarest")
"""Columns of ``TermOverlap.overlaps``."""


@dataclass(frozen=True, slots=True, eq=False)
class TermSets:
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

    def lengths(self, texts: IntArray) -> NDArray[np.int64]:
        """(p,) number of terms of some texts."""
        return self.starts[texts + 1] - self.starts[texts]

    def places(self, texts: IntArray) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Row of the text (T of these texts,) and place of each term of some texts (p,)."""
        lengths = self.lengths(texts)
        rows = np.repeat(np.arange(len(texts)), lengths)
        begins = self.starts[texts] - (lengths.cumsum() - lengths)
        return rows, np.arange(len(rows)) + np.repeat(begins, lengths)

    def sum_weights(self, weights: FloatArray, texts: IntArray) -> FloatArray:
        """(p,) sum of the weights (W,) of the terms of some texts."""
        rows, places = self.places(texts)
        sums = np.bincount(rows, weights[self.terms[places]], len(texts))
        return sums.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class TextMatch:
    """What the texts of all items have of a query.

    Args:
        shares: (N,) share of the query's IDF in each text.
        rarest: (N,) largest IDF of a term of the query that the text has.
    """

    shares: FloatArray
    rarest: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class TermOverlap:
    """Terms of N items with their IDF.

    Args:
        numbers: term -> its number.
        idf: (W,) log(N / number of items with the term).
        unknown_idf: IDF of a term that no item has.
        titles: terms of titles.
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

    def overlaps(self, query: Collection[str], match: TextMatch, items: IntArray) -> FloatArray:
        """(p, 4) ``OVERLAPS`` of a query with some items.

        The share of the query's IDF in the title and in the text, the Jaccard index of query and
        title, and the largest IDF of a query term that the text has.

        Args:
            query: its terms.
            match: of these terms.
            items: (p,) to score.
        """
        columns = self.in_title(query, items), match.shares[items], self.in_both(query, items)
        return np.column_stack([*columns, match.rarest[items]]).astype(np.float32)

    def in_title(self, query: Collection[str], items: IntArray) -> FloatArray:
        """(p,) share of the query's IDF in the titles of some items."""
        terms = self._numbers(query)
        if not len(terms):
            return np.zeros(len(items), np.float32)
        weights = np.zeros_like(self.idf)
        weights[terms] = self.idf[terms]
        shares: FloatArray = self.titles.sum_weights(weights, items) / (
            self.total_idf(query) or 1.0
        )
        return shares

    def match_texts(self, query: Collection[str]) -> TextMatch:
        """What the texts of all items have of a query."""
        sums, largest = np.zeros((2, len(self.titles.starts) - 1), np.float32)
        terms = self._numbers(query)
        # Rarest term last, so that it overwrites ``largest``.
        for term in terms[np.argsort(self.idf[terms], kind="stable")].tolist():
            begin, end = self.postings.starts[term : term + 2]
            texts = self.postings.terms[begin:end]
            sums[texts] += self.idf[term]
            largest[texts] = self.idf[term]
        return TextMatch(sums / (self.total_idf(query) or 1.0), largest)

    def with_titles(self, feedback: IntArray, weights: FloatArray, items: IntArray) -> FloatArray:
        """(D, p) weighted shares of the terms of feedback titles that other titles have.

        Divided by the square root of a title's length plus 1, as long titles share terms by chance.

        Args:
            feedback: (n,) items whose titles are compared.
            weights: (D, n) of these items, D times.
            items: (p,) items to score.
        """
        rows, places = self.titles.places(feedback)
        terms = self.titles.terms[places]
        items_of, item_places = self.titles.places(items)
        item_terms, idf = self.titles.terms[item_places], self.idf[terms]
        lengths = np.sqrt(1.0 + self.titles.lengths(items))
        shares = np.empty((len(weights), len(items)), np.float32)
        for depth, one in enumerate(weights):
            term_weights = np.bincount(terms, one[rows] * idf, len(self.idf))  # (W,)
            shared = np.bincount(items_of, term_weights[item_terms], len(items))
            shares[depth] = shared / (float(term_weights.sum()) or 1.0) / lengths
        return shares

    def in_both(self, query: Collection[str], items: IntArray) -> FloatArray:
        """(p,) Jaccard index of the terms of a query and of titles."""
        weights = np.zeros_like(self.idf)
        weights[self._numbers(query)] = 1.0
        shared = self.titles.sum_weights(weights, items)
        union = len(query) + self.titles.lengths(items) - shared
        return np.asarray(shared / np.maximum(1.0, union), np.float32)

    def _numbers(self, query: Collection[str]) -> NDArray[np.int64]:
        """Numbers of the query's terms that some item has, ascending."""
        known = sorted(self.numbers[term] for term in query if term in self.numbers)
        return np.array(known, np.int64)
