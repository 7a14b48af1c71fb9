"""Query-item features of the relevance model: lexical and embedding similarity, no training.

Embedding similarities are those of the query itself, as they are and standardised against
reference items (``reference.py``), and of pseudo-relevance feedback (``feedback.py``). Words are
compared in full and by their first five letters, a stemmer that matches "nurse" and "nursing"
in most languages with suffixes. For a query that contains "without", the words before it count as
wanted and those after it as unwanted.

Nothing here is learned from relevance labels.

Shapes: Q queries, N items, P pairs, q queries and n items of one batch, p pairs of it, T passages,
V views, C size of a text vector, F features.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.artefact import Artefact
from serendip.data.numeric import unit
from serendip.data.text import NEGATIONS, normalise, tokens
from serendip.models.relevance.feedback import FEEDBACK_DEPTHS, RelevanceFeedback
from serendip.models.relevance.reference import KINDS, ReferenceItems
from serendip.models.relevance.term_overlap import OVERLAPS, TermOverlap, TermSets

VIEWS = ("title", "body", "passages")
REFERENCE_SIZE = 1_024
_PREFIX_LENGTH = 5
_TERM_FEATURES = (
    *(f"{kind}: {overlap}" for kind in ("words", "prefixes") for overlap in OVERLAPS),
    "trigrams of title",
)
_FEEDBACK_FEATURES = (
    *(f"feedback {depth}: {view}" for depth in FEEDBACK_DEPTHS for view in (*VIEWS, "words")),
    "feedback: coherence",
)
_QUERY_FEATURES = (
    "negation",
    "wanted: in text",
    "unwanted: in title",
    "query length",
    "query IDF",
)
PAIR_FEATURES = (
    *(f"{view}: {kind}" for view in VIEWS for kind in KINDS),
    *_FEEDBACK_FEATURES,
    *_TERM_FEATURES,
    *_QUERY_FEATURES,
)


@dataclass(frozen=True, slots=True, eq=False)
class QueryTexts:
    """Words and vectors of Q queries.

    Args:
        vectors: (Q, C) unit vectors.
        wanted: Q pairs: words before a word of ``NEGATIONS``, words after it.
    """

    vectors: FloatArray
    words: list[frozenset[str]]
    wanted: list[tuple[frozenset[str], frozenset[str]]]
    trigrams: list[frozenset[str]]

    @classmethod
    def of(cls, texts: Sequence[str], vectors: FloatArray) -> Self:
        """From texts and their vectors."""
        words, trigrams = map(_words, texts), map(_trigrams, texts)
        return cls(vectors, list(words), list(map(_split_at_negation, texts)), list(trigrams))


@dataclass(frozen=True, slots=True, eq=False)
class ItemTexts(Artefact):
    """Words and vectors of title, body and passages of N items.

    Args:
        views: (V, N, C) vectors of title, body and mean passage; zeros for a missing text.
        words: of the title and of the whole text.
        prefixes: of these words.
    """

    views: FloatArray
    words: TermOverlap
    prefixes: TermOverlap
    trigrams: TermOverlap

    @classmethod
    def of(
        cls,
        texts: Sequence[tuple[str, str, Sequence[str]]],
        titles: FloatArray,
        bodies: FloatArray,
        passages: FloatArray,
        starts: NDArray[np.int64],
    ) -> Self:
        """From (title, body, passages) of N items and the vectors (N or T, C) of these texts.

        ``starts`` (N + 1,) tells where the passages of each item begin.
        """
        sums = np.zeros_like(titles)
        item_of = np.repeat(np.arange(len(texts)), np.diff(starts))  # (T,)
        np.add.at(sums, item_of, passages)
        means = sums / np.maximum(1, np.diff(starts))[:, None]  # (N, C)
        title_words = [_words(title) for title, _, _ in texts]
        # Word by word of each text: joined, the end of one could change the first word of the next.
        text_words = [
            frozenset().union(*map(_words, (title, body, *more))) for title, body, more in texts
        ]
        trigrams = [_trigrams(title) for title, _, _ in texts]
        return cls(
            np.stack([titles, bodies, means.astype(np.float32)]),
            TermOverlap.of(title_words, text_words),
            TermOverlap.of(
                list(map(build_prefixes, title_words)), list(map(build_prefixes, text_words))
            ),
            TermOverlap.of(trigrams, trigrams),
        )

    def __len__(self) -> int:
        return int(self.views.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class PairFeatures:
    """Computes the features of pairs, relative to reference items.

    Args:
        query_mean: (C,) mean of all queries, which is subtracted from each.
        item_means: (V, C) mean of all items.
        views: (V, N, C) centred unit vectors of the items.
    """

    query_mean: FloatArray
    item_means: FloatArray
    views: FloatArray
    reference: ReferenceItems
    feedback: RelevanceFeedback

    @classmethod
    def fit(cls, queries: QueryTexts, items: ItemTexts, seed: int = 0) -> Self:
        """From all queries and items; up to ``REFERENCE_SIZE`` items are the references."""
        query_mean, item_means = queries.vectors.mean(0), items.views.mean(1)
        views = centre_views(items.views, item_means)
        sample = np.sort(np.random.default_rng(seed).permutation(len(items))[:REFERENCE_SIZE])
        reference = ReferenceItems.of(views[:, sample])
        feedback = RelevanceFeedback.of(views, items.words)
        return cls(query_mean, item_means, views, reference, feedback)

    def centre_query(self, queries: QueryTexts, row: int) -> FloatArray:
        """(C,) unit vector of a query, without the mean of all queries."""
        vector: FloatArray = self.centre_queries(queries, np.array([row]))[0]
        return vector

    def centre_queries(self, queries: QueryTexts, rows: IntArray | NDArray[np.intp]) -> FloatArray:
        """(q, C) unit vectors of some queries, without the mean of all queries."""
        return unit(queries.vectors[rows] - self.query_mean)

    def compute(
        self, queries: QueryTexts, items: ItemTexts, rows: IntArray, numbers: IntArray
    ) -> FloatArray:
        """(P, F) features of pairs, query by query as for a request.

        Items are those that the features were fitted on; rows (P,) number the queries.
        """
        features = np.empty((len(rows), len(PAIR_FEATURES)), np.float32)  # (P, F)
        for row, own in split_by_query(rows):
            views = self.views.take(numbers[own], axis=1)
            features[own] = self.compute_query(queries, items, row, numbers[own], views)
        return features

    def compute_query(
        self, queries: QueryTexts, items: ItemTexts, row: int, numbers: IntArray, views: FloatArray
    ) -> FloatArray:
        """(p, F) features of one query and some items, with the views (V, p, C) of these."""
        vector = self.centre_query(queries, row)
        titles = items.words.titles.take(numbers)
        asked = vector, queries.words[row]
        return np.column_stack(
            [
                self.reference.columns([vector] * len(VIEWS), views),
                self.feedback.columns(asked, items.words, views, titles),
                _term_features(queries, items, row, titles, numbers),
            ]
        )


def split_by_query(rows: IntArray) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Numbers of queries (P,) -> each of them, with the places of its pairs."""
    order = np.argsort(rows, kind="stable")
    numbers, starts = np.unique(rows[order], return_index=True)
    yield from zip(
        numbers.tolist(), np.split(order, starts[1:]), strict=False
    )  # none: one empty part


def _term_features(
    queries: QueryTexts, items: ItemTexts, row: int, titles: TermSets, numbers: IntArray
) -> FloatArray:
    # (p, 14) overlap of words, prefixes and trigrams of a query with some items.
    words, (wanted, unwanted) = queries.words[row], queries.wanted[row]
    match = items.words.match_texts(words, numbers)
    wanted_match = match if wanted == words else items.words.match_texts(wanted, numbers)
    prefixes = build_prefixes(words)
    prefix_match = items.prefixes.match_texts(prefixes, numbers)
    trigrams = items.trigrams.titles.take(numbers)
    return np.column_stack(
        [
            items.words.overlaps(words, match, titles),
            items.prefixes.overlaps(prefixes, prefix_match, items.prefixes.titles.take(numbers)),
            items.trigrams.in_both(queries.trigrams[row], trigrams),
            np.full(len(numbers), bool(unwanted)),
            wanted_match.shares,
            items.words.in_title(unwanted, titles),
            np.full(len(numbers), len(words)),
            np.full(len(numbers), items.words.total_idf(words)),
        ]
    )


def centre_views(views: FloatArray, means: FloatArray) -> FloatArray:
    """(V, n, C) unit vectors of views minus the means (V, C); a missing text stays zeros."""
    is_present = views.any(2, keepdims=True)
    return unit(np.where(is_present, views - means[:, None], 0.0).astype(np.float32))


def _words(text: str) -> frozenset[str]:
    return frozenset(tokens(text))


def _split_at_negation(text: str) -> tuple[frozenset[str], frozenset[str]]:
    words = tokens(text)
    place = next((at for at, word in enumerate(words) if word in NEGATIONS), len(words))
    return frozenset(words[:place]), frozenset(words[place + 1 :])


def _trigrams(text: str) -> frozenset[str]:
    normal = f" {normalise(text)} "
    return frozenset(normal[place : place + 3] for place in range(len(normal) - 2))


def build_prefixes(words: Collection[str]) -> frozenset[str]:
    """The first letters of words."""
    return frozenset(word[:_PREFIX_LENGTH] for word in words)
