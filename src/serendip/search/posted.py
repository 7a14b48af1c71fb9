"""Words of items posted after the index was built: findable at once, on the same scale.

A second index would have its own document frequencies, so that a posted item could never be
compared with the others. This one holds only postings and borrows the built index's statistics:
its BM25 (k1 = 1.2, b = .75, as in tantivy) gives a posted item the score it would have there.
Adding an item copies two small maps and leaves the old value as it was.

Paper: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from serendip.search.documents import FIELDS, WRITTEN, Document

K1 = 1.2
B = 0.75

Posting = tuple[tuple[int, int], ...]
"""(item number, occurrences) pairs."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What BM25 knows about the built index.

    Args:
        num_documents: items in it.
        lengths: field -> number of terms in all items together.
        frequency: (field, term) -> number of items with the term.
    """

    num_documents: int
    lengths: Mapping[str, int]
    frequency: Callable[[str, str], int]


@dataclass(frozen=True, slots=True, eq=False)
class PostedWords:
    """Immutable postings of a few items.

    Args:
        documents: item number -> its terms.
        postings: (field, term) -> items that have it.
    """

    documents: Mapping[int, Document] = field(default_factory=dict)
    postings: Mapping[tuple[str, str], Posting] = field(default_factory=dict)

    def with_documents(self, documents: Mapping[int, Document]) -> PostedWords:
        """A copy with more items by item number; those it had already are replaced."""
        postings = dict(self.postings)
        for number in documents.keys() & self.documents.keys():
            for pair, _ in _counted(self.documents[number]):
                kept = tuple(one for one in postings.get(pair, ()) if one[0] != number)
                postings[pair] = kept
        for number, document in documents.items():
            for pair, count in _counted(document):
                postings[pair] = (*postings.get(pair, ()), (number, count))
        return PostedWords({**self.documents, **documents}, postings)

    def scores(
        self,
        terms: Sequence[tuple[str, str]],
        weights: Mapping[str, float],
        statistics: Statistics,
    ) -> dict[int, float]:
        """Item number -> BM25 of every posted item with one of the (field, term) pairs."""
        found: dict[int, float] = {}
        for name, term in terms:
            postings = self.postings.get((name, term), ())
            if postings and weights[name] > 0:
                self._add(found, name, postings, weights[name], statistics, term)
        return found

    def having_all(self, groups: Sequence[Sequence[tuple[str, str]]]) -> set[int]:
        """Posted items that have a (field, term) pair of each group; none where none is asked."""
        have = [
            {number for pair in group for number, _ in self.postings.get(pair, ())}
            for group in groups
        ]
        return set.intersection(*have) if have else set()

    def _add(
        self,
        found: dict[int, float],
        name: str,
        postings: Posting,
        weight: float,
        statistics: Statistics,
        term: str,
    ) -> None:
        documents = statistics.num_documents + len(self.documents)
        frequency = statistics.frequency(name, term) + len(postings)
        rarity = math.log(1.0 + (documents - frequency + 0.5) / (frequency + 0.5))
        mean_length = self._mean_length(name, statistics)
        for number, count in postings:
            relative = len(self.documents[number].terms(name)) / mean_length
            damped = count / (count + K1 * (1.0 - B + B * relative))
            found[number] = found.get(number, 0.0) + weight * rarity * (1.0 + K1) * damped

    def _mean_length(self, name: str, statistics: Statistics) -> float:
        if statistics.num_documents and statistics.lengths[name]:
            return statistics.lengths[name] / statistics.num_documents
        own = [len(document.terms(name)) for document in self.documents.values()]
        return max(sum(own) / max(len(own), 1), 1.0)


def _counted(document: Document) -> Iterator[tuple[tuple[str, str], int]]:
    """((field, term), occurrences) of a document."""
    for name in (*FIELDS, WRITTEN):
        for term, count in Counter(document.terms(name)).items():
            yield (name, term), count
