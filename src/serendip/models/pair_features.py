"""Cheap features of a query and an item: how near texts are, among what else there is to choose.

A likeness of .4 says nothing by itself: some queries are near to everything and some items are near
to every query. So a likeness is told relative to what the query has with a crowd of items, and that
relative to what the item has with a crowd of queries. (Ideas: the hubness correction of Dinu et al.
2015 and of CSLS, Conneau et al. 2018.) And as short texts say little, a query is expanded by its
nearest items of the crowd: what is like them may be meant, too (Rocchio 1971, without feedback).

Nothing here learns from a judgement. Shapes: Q queries, N items, P pairs, T passages, V views, K
items and H queries of the crowds, C size of a text vector, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.analysis import normalise, tokens
from serendip.data.arrays import FloatArray, IntArray

VIEWS = ("title", "body", "passages")
EXPANSIONS = (3, 10, 30)
"""Nearest items of the crowd that expand a query."""

_TOP_PASSAGES = 3
_CROWD = 1_024
_AT_ONCE = 256
_WORDS = ("words in title", "words in text", "title overlap", "letters of title", "rarest word")
PAIR_FEATURES = (
    *(f"{view}: {kind}" for view in VIEWS for kind in ("likeness", "for the query", "for both")),
    "best passages",
    *(f"{view}: near {n}{kind}" for n in EXPANSIONS for view in VIEWS for kind in ("", ", spread")),
    *_WORDS,
    "words of the query",
    "rarity of the query",
)


@dataclass(frozen=True, slots=True, eq=False)
class QueryTexts:
    """Queries by their words and vectors.

    Args:
        vectors: (Q, C) unit vectors.
        words: Q sets of words.
        letters: Q sets of three letters in a row.
    """

    vectors: FloatArray
    words: list[frozenset[str]]
    letters: list[frozenset[str]]

    @classmethod
    def of(cls, texts: Sequence[str], vectors: FloatArray) -> Self:
        """From texts and their vectors."""
        return cls(vectors, [_words(text) for text in texts], [_letters(text) for text in texts])


@dataclass(frozen=True, slots=True, eq=False)
class ItemTexts:
    """Items by the words and vectors of their title, body and passages.

    Args:
        views: (V, N, C) vectors of title, body and mean passage; zeros where there is none.
        passages: (T, C) unit vectors.
        starts: (N + 1,) int64 where the passages of each item begin.
        title_words, words: N sets of words, of the title and of everything.
        letters: N sets of three letters in a row of the title.
    """

    views: FloatArray
    passages: FloatArray
    starts: NDArray[np.int64]
    title_words: list[frozenset[str]]
    words: list[frozenset[str]]
    letters: list[frozenset[str]]

    @classmethod
    def of(
        cls,
        texts: Sequence[tuple[str, str, Sequence[str]]],
        titles: FloatArray,
        bodies: FloatArray,
        passages: FloatArray,
        starts: NDArray[np.int64],
    ) -> Self:
        """From (title, body, passages) of N items and the vectors of these texts."""
        sums = np.zeros_like(titles)
        owner = np.repeat(np.arange(len(texts)), np.diff(starts))
        np.add.at(sums, owner, passages)
        means = sums / np.maximum(1, np.diff(starts))[:, None]
        return cls(
            np.stack([titles, bodies, means.astype(np.float32)]),
            passages,
            starts,
            [_words(title) for title, _, _ in texts],
            [_words(" ".join((title, body, *more))) for title, body, more in texts],
            [_letters(title) for title, _, _ in texts],
        )

    def __len__(self) -> int:
        return len(self.starts) - 1


@dataclass(frozen=True, slots=True, eq=False)
class PairFeatures:
    """What is known of the crowds.

    Args:
        query_mean: (C,) what all queries have in common; taken away before anything is compared.
        view_means: (V, C) the same of the items' views.
        items: (V, K, C) centred unit vectors of some items.
        others: (V, C) and
        others_mean: (V,): ``others @ v - others_mean`` is how near an item's vector v is to some
            queries in the mean, each relative to what it has with the items above.
        rarity: word -> log(N / items that have it).
        most: rarity of words that no item has.
    """

    query_mean: FloatArray
    view_means: FloatArray
    items: FloatArray
    others: FloatArray
    others_mean: FloatArray
    rarity: dict[str, float]
    most: float

    @classmethod
    def fit(cls, queries: QueryTexts, items: ItemTexts, seed: int = 0) -> Self:
        """From the queries and items that there are, at most 1,024 of each for the crowds."""
        random = np.random.default_rng(seed)
        query_mean, view_means = queries.vectors.mean(0), items.views.mean(1)
        some = np.sort(random.permutation(len(items))[:_CROWD])
        asked = np.sort(random.permutation(len(queries.vectors))[:_CROWD])
        counts: dict[str, int] = {}
        for words in items.words:
            for word in words:
                counts[word] = counts.get(word, 0) + 1
        rarity = {word: float(np.log(len(items) / count)) for word, count in counts.items()}
        crowd = _centred(items.views[:, some], view_means)
        others, others_mean = _asked_by_others(_unit(queries.vectors[asked] - query_mean), crowd)
        most = float(np.log(len(items) + 1))
        return cls(query_mean, view_means, crowd, others, others_mean, rarity, most)

    def of(
        self, queries: QueryTexts, items: ItemTexts, rows: IntArray, numbers: IntArray
    ) -> FloatArray:
        """(P, F) features of pairs.

        Args:
            queries: texts and vectors.
            items: texts and vectors.
            rows: (P,) numbers of queries.
            numbers: (P,) numbers of items.
        """
        features = np.empty((len(rows), len(PAIR_FEATURES)), np.float32)
        asked, place = np.unique(rows, return_inverse=True)
        for begin in range(0, len(asked), _AT_ONCE):
            part = np.flatnonzero((place >= begin) & (place < begin + _AT_ONCE))
            own = _unit(queries.vectors[asked[begin : begin + _AT_ONCE]] - self.query_mean)
            features[part, : -len(_WORDS) - 2] = self._likenesses(
                own, place[part] - begin, items, numbers[part]
            )
        features[:, -len(_WORDS) - 2 :] = self._overlaps(queries, items, rows, numbers)
        return features

    def _likenesses(
        self, own: FloatArray, place: NDArray[np.intp], items: ItemTexts, numbers: IntArray
    ) -> FloatArray:
        """Of some queries' vectors (q, C), with ``place`` (p,) of each pair's query among them."""
        different, which = np.unique(numbers, return_inverse=True)
        views = _centred(items.views[:, different], self.view_means)
        crowd = np.einsum("qc,vkc->vqk", own, self.items)
        means, spreads = crowd.mean(2), crowd.std(2) + 1e-6
        hubs = np.einsum("vc,vnc->vn", self.others, views) - self.others_mean[:, None]
        columns = []
        for view, mean, spread, hub in zip(views, means, spreads, hubs, strict=True):
            likeness = (own @ view.T)[place, which]
            relative = (likeness - mean[place]) / spread[place]
            columns += [likeness, relative, relative - hub[which]]
        columns.append(_best_passages(own, place, items, different, which))
        known = np.einsum("vc,vkc->vk", self.others, self.items) - self.others_mean[:, None]
        near = ((crowd - means[..., None]) / spreads[..., None] - known[:, None]).mean(0)
        for count in EXPANSIONS:
            for view, others in zip(views, self.items, strict=True):
                expanded = _expanded(near, others, count)
                likeness = (expanded @ view.T)[place, which]
                seen = expanded @ others.T
                spread = (likeness - seen.mean(1)[place]) / (seen.std(1)[place] + 1e-6)
                columns += [likeness, spread]
        return np.column_stack(columns)

    def _overlaps(
        self, queries: QueryTexts, items: ItemTexts, rows: IntArray, numbers: IntArray
    ) -> FloatArray:
        """(P, 7) what words and letters have in common."""
        found = np.empty((len(rows), len(_WORDS) + 2), np.float32)
        weights: dict[int, dict[str, float]] = {}
        for place, (row, number) in enumerate(zip(rows.tolist(), numbers.tolist(), strict=True)):
            words, title = queries.words[row], items.title_words[number]
            if row not in weights:
                weights[row] = {word: self.rarity.get(word, self.most) for word in words}
            weight = weights[row]
            total = sum(weight.values())
            in_title = [weight[word] for word in words & title]
            in_text = [weight[word] for word in words & items.words[number]]
            found[place] = (
                sum(in_title) / (total or 1.0),
                sum(in_text) / (total or 1.0),
                _jaccard(words, title),
                _jaccard(queries.letters[row], items.letters[number]),
                max(in_text, default=0.0),
                len(words),
                total,
            )
        return found


def _expanded(near: FloatArray, others: FloatArray, count: int) -> FloatArray:
    """(q, C) means of the ``count`` nearest items of the crowd, the nearest with most weight."""
    count = min(count, near.shape[1])
    best = np.argpartition(-near, count - 1, axis=1)[:, :count]
    weight = np.exp(2.0 * np.take_along_axis(near, best, 1))
    weight /= weight.sum(1, keepdims=True)
    mixed: FloatArray = np.einsum("qn,qnc->qc", weight, others[best]).astype(np.float32)
    return mixed


def _asked_by_others(queries: FloatArray, items: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(V, C) and (V,) of a crowd of queries (H, C) and one of items (V, K, C); see ``others``."""
    seen = np.einsum("hc,vkc->vhk", queries, items)
    means, spreads = seen.mean(2), seen.std(2) + 1e-6
    others = np.einsum("vh,hc->vc", 1 / spreads, queries) / len(queries)
    return others.astype(np.float32), (means / spreads).mean(1).astype(np.float32)


def _best_passages(
    own: FloatArray,
    place: NDArray[np.intp],
    items: ItemTexts,
    different: IntArray,
    which: NDArray[np.intp],
) -> FloatArray:
    """(p,) mean likeness of the three passages of the item that are nearest to the query.

    ``different`` (n,) are the items' numbers, ``which`` (p,) the item of each pair among them.
    """
    starts, counts = items.starts[different], np.diff(items.starts)[different]
    most = int(counts.max(initial=0))
    if most == 0:
        return np.zeros(len(which), np.float32)
    step = np.arange(most)
    inside = step < counts[:, None]
    passages = np.where(inside, starts[:, None] + step, starts[:, None])[inside]
    likeness = np.full((len(own), len(different), most), -np.inf, np.float32)
    likeness[:, inside] = own @ items.passages[passages].T
    found = np.partition(likeness[place, which], -min(_TOP_PASSAGES, most), axis=1)
    best = found[:, -min(_TOP_PASSAGES, most) :]
    is_there = np.isfinite(best)
    total = np.where(is_there, best, 0.0).sum(1)
    mean: FloatArray = (total / np.maximum(1, is_there.sum(1))).astype(np.float32)
    return mean


def _centred(views: FloatArray, means: FloatArray) -> FloatArray:
    """(V, n, C) unit vectors without what all items have in common; a missing text stays zeros."""
    is_there = views.any(2, keepdims=True)
    return _unit(np.where(is_there, views - means[:, None], 0.0).astype(np.float32))


def _unit(vectors: FloatArray) -> FloatArray:
    """Rows of length 1; rows of zeros stay."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: FloatArray = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return unit


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    either = len(one | other)
    return len(one & other) / either if either else 0.0


def _words(text: str) -> frozenset[str]:
    return frozenset(tokens(text))


def _letters(text: str) -> frozenset[str]:
    normal = f" {normalise(text)} "
    return frozenset(normal[place : place + 3] for place in range(len(normal) - 2))
