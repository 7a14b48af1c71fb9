"""Features of the relevance model, of query and item and of user and item: nothing is learned.

**Query and item**: lexical and embedding similarity. Embedding similarities are those of the query
itself, as they are and standardised against reference items, and of pseudo-relevance feedback.
Words are compared in full and by their first five letters, a stemmer that matches "nurse" and
"nursing" in most languages with suffixes. For a query that contains "without", the words before it
count as wanted and those after it as unwanted.

**Reference items**: a cosine of 0.4 alone is not informative: some queries are near all items. So
it is standardised by the query's cosines with a sample of reference items.

**Pseudo-relevance feedback**: similarity of an item to the centroid of a query's top results. A
short query has little text; its top results by vectors and by words show what else belongs to it
(Rocchio 1971; for words the relevance model of Lavrenko and Croft 2001). The feedback depends on
the items that are searched for it only, not on the other items of the request.

**User and item**: whether an item fits what its user chose before. An item can be relevant to a
text or a list and not to the person who reads it. The features compare it with the newest items of
the user's past, by their texts and by the values of their attributes, and with what else is known
of the user: the country of the request, and attributes that users and items share, such as a
language or a city. Nothing here is learned from labels, and a feature is a likeness or a share: a
model serves users and values that no label has seen.

Shapes: Q queries, N items, P pairs; q queries, n items and p pairs of one batch, or of one query;
T passages, V views, C size of a text vector, F features, B nearest items, R directions; of a user
M items of the past and U features; K reference or searched items, or attribute values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import NO_ITEMS, Artefact, Catalogue, FloatArray, IntArray, normalise
from serendip.data.numeric import unit
from serendip.data.text import NEGATIONS, tokens
from serendip.data.users.profile import PreferenceTable
from serendip.models.linalg import main_directions
from serendip.models.relevance.term_overlap import OVERLAPS, TermOverlap, TermSets

KINDS = ("similarity", "for the query")
"""Columns of each view: cosine, and the same standardised for the query."""

_MIN_SPREAD = 1e-6
"""Added to the standard deviation of similarities, which is 0 where all are equal."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceItems(Artefact):
    """The moments of the vectors of a sample of items.

    With x the items and e a query vector, mean((e x)^2) = e' S e, where S is the mean of x x': mean
    and standard deviation of the cosines take no pass over the items.

    Args:
        means: (V, C) of the vectors.
        squares: (V, C, C) means of the outer products x x'.
    """

    means: FloatArray
    squares: FloatArray

    @classmethod
    def of(cls, vectors: FloatArray) -> Self:
        """From centred unit vectors (V, K, C)."""
        squares = np.stack([view.T @ view / view.shape[0] for view in vectors])  # (V, C, C)
        return cls(vectors.mean(1), squares)

    def columns(self, vectors: Sequence[FloatArray], views: FloatArray) -> FloatArray:
        """(p, 2 V) ``KINDS`` of each view.

        Args:
            vectors: V times (C,) unit vectors of the query; they may be the same.
            views: (V, p, C) centred unit vectors of the items.
        """
        columns = []
        for view, (vector, items) in enumerate(zip(vectors, views, strict=True)):
            mean = vector @ self.means[view]
            variance = vector @ self.squares[view] @ vector - mean**2
            similarity = items @ vector  # (p,)
            spread = np.sqrt(max(variance, 0.0)) + _MIN_SPREAD
            columns += [similarity, (similarity - mean) / spread]
        return np.column_stack(columns)


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


USER_FEATURES = (
    "past: items",
    "past: its mean",
    "past: nearest",
    "past: three nearest",
    "past: newest",
    "past: the query",
    "past: values",
    "past: values against all items",
    "past: values of the newest",
    "country: same",
    "attributes: same",
)

COUNTRY = "country"
"""Attribute of items that the country of a request is compared with."""

NEWEST = 20
"""Items of the past that are compared, the newest ones."""

_MOST_VALUES = 256
_NEAREST = 3
_PRIOR = 5.0
"""Items of the catalogue's mean that the shares of a past are shrunk by."""

_UNKNOWN = -1.0


@dataclass(frozen=True, slots=True, eq=False)
class RequestUser:
    """What a request has of its user; nothing for a visitor who chose nothing yet.

    Args:
        items: (M,) int32 chosen items, the newest last.
        attributes: name -> value, with the country under ``COUNTRY``.
    """

    items: IntArray = field(default_factory=lambda: NO_ITEMS)
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class UserFeatures:
    """Computes the features of a user and the items of one catalogue.

    Args:
        views: (V, N, C) centred unit vectors of the items' texts.
        usual: (K,) mean share of each value over all items.
    """

    views: FloatArray
    catalogue: Catalogue
    values: PreferenceTable
    usual: FloatArray

    @classmethod
    def of(cls, views: FloatArray, catalogue: Catalogue) -> Self:
        """From the text vectors (V, N, C) and the attributes of the items."""
        values = PreferenceTable.of(catalogue, _MOST_VALUES)
        return cls(views, catalogue, values, values.usual_shares())

    def compute(self, user: RequestUser, query: FloatArray, numbers: IntArray) -> FloatArray:
        """(P, U) ``USER_FEATURES`` of items.

        The query is the centred unit vector (C,) of the text that the request stands for.
        """
        past = user.items[user.items < self.views.shape[1]][-NEWEST:]  # (M,)
        country = {name: text for name, text in user.attributes.items() if name == COUNTRY}
        others = {name: text for name, text in user.attributes.items() if name != COUNTRY}
        features = np.zeros((len(numbers), len(USER_FEATURES)), np.float32)
        if len(past):
            features[:, 0] = np.log1p(len(past))
            features[:, 1:6] = self._similarities(past, query, numbers)
            features[:, 6:9] = self._values_in_common(past, numbers)
        features[:, 9] = self._share_equal(country, numbers)
        features[:, 10] = self._share_equal(others, numbers)
        return features

    def _similarities(self, past: IntArray, query: FloatArray, numbers: IntArray) -> FloatArray:
        """(P, 5) cosines with the past's mean, nearest, three nearest and newest; the query's."""
        chosen, items = self._vectors(past), self._vectors(numbers)  # (M, C), (P, C)
        mean = unit(chosen.mean(0)[None])[0]  # (C,)
        cosines = items @ chosen.T  # (P, M)
        count = min(_NEAREST, len(past))
        nearest = np.partition(cosines, -count, axis=1)[:, -count:]  # (P, 3)
        return np.column_stack(
            [
                items @ mean,
                nearest.max(1),
                nearest.mean(1),
                cosines[:, -1],
                np.full(len(numbers), query @ mean),
            ]
        )

    def _vectors(self, numbers: IntArray) -> FloatArray:
        """(P, C) unit vectors of items: the mean of their views."""
        return unit(self.views[:, numbers].mean(0))

    def _values_in_common(self, past: IntArray, numbers: IntArray) -> FloatArray:
        """(P, 3) mean over an item's attribute values: their share of the past, the logarithm of
        that against all items, and whether the newest item has them.
        """
        shares = self.values.shares_of(past)  # (K,)
        count, usual = len(past), np.maximum(self.usual, 1e-6)
        against = np.log((count * shares + _PRIOR * usual) / ((count + _PRIOR) * usual))
        newest = self.values.shares_of(past[-1:]) > 0
        columns = np.column_stack([shares, against, newest]).astype(np.float32)  # (K, 3)
        means: FloatArray = self.values.mean_over(numbers, columns)
        return means

    def _share_equal(self, attributes: Mapping[str, str], numbers: IntArray) -> FloatArray:
        """(P,) share of a user's attributes that an item has with the same value; -1 = the items
        have none of these attributes.
        """
        known = [name for name in attributes if name in self.catalogue.attribute_names]
        if not known:
            return np.full(len(numbers), _UNKNOWN, np.float32)
        same = [
            self.catalogue.column(name).having_of(attributes[name], numbers) for name in known
        ]  # (P,) each
        share: FloatArray = np.mean(same, axis=0, dtype=np.float32)
        return share
