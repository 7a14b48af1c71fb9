"""Query-item features of the relevance classifier: lexical and embedding similarity, no training.

Embedding similarities are hubness-corrected (``hubness.py``): of the query itself, of the query
expanded by its neighbours, and of pseudo-relevance feedback (``feedback.py``). Words are compared
in full and by their first five letters, a stemmer that matches "nurse" and "nursing" in most
languages with suffixes. For a query that contains "without", the words before it count as wanted
and those after it as unwanted.

Item texts are stored as ``item_texts.safetensors`` (vectors, most of the data) and
``item_words.json`` (words as lists of strings, sets of words as numbers).

Nothing here is learned from relevance labels.

Shapes: Q queries, N items, P pairs, T passages, V views, C size of a text vector, R directions, F
features.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.numeric import unit
from serendip.data.text import NEGATIONS, normalise, tokens
from serendip.errors import ArtefactError
from serendip.models.linalg import main_directions
from serendip.models.relevance.feedback import EXPANSIONS, FOUND, QueryExpansion, RelevanceFeedback
from serendip.models.relevance.hubness import KINDS, HubnessCorrection, ReferenceItems
from serendip.models.relevance.term_overlap import OVERLAPS, TermOverlap, TermSets

VIEWS = ("title", "body", "passages")
_TOP_PASSAGES = 3
DIRECTIONS = 192
"""In which passages differ most; the others are not kept."""
CROWD = 1_024
_AT_ONCE = 256
_BEGINNING = 5
_WORDS = (
    *(f"{kind}: {overlap}" for kind in ("words", "beginnings") for overlap in OVERLAPS),
    "letters of title",
)
_FOUND = (
    *(f"found {count}: {view}" for count in FOUND for view in (*VIEWS, "words")),
    "found: alike",
)
_WANTED = ("says without", "wanted: in text", "unwanted: in title")
PAIR_FEATURES = (
    *(f"{view}: {kind}" for view in VIEWS for kind in KINDS),
    "best passages",
    *(f"{view}: near {n}{kind}" for n in EXPANSIONS for view in VIEWS for kind in ("", ", spread")),
    *_FOUND,
    *_WORDS,
    *_WANTED,
    "words of the query",
    "rarity of the query",
)


@dataclass(frozen=True, slots=True, eq=False)
class QueryTexts:
    """Queries by their words and vectors.

    Args:
        vectors: (Q, C) unit vectors.
        words: Q sets of words.
        wanted: Q times the words before one of ``NEGATIONS`` and those after it.
        letters: Q sets of three letters in a row.
    """

    vectors: FloatArray
    words: list[frozenset[str]]
    wanted: list[tuple[frozenset[str], frozenset[str]]]
    letters: list[frozenset[str]]

    @classmethod
    def of(cls, texts: Sequence[str], vectors: FloatArray) -> Self:
        """From texts and their vectors."""
        words, letters = map(_words, texts), map(_letters, texts)
        return cls(vectors, list(words), list(map(_wanted, texts)), list(letters))


@dataclass(frozen=True, slots=True, eq=False)
class ItemTexts:
    """Items by the words and vectors of their title, body and passages.

    Args:
        views: (V, N, C) vectors of title, body and mean passage; zeros where there is none.
        directions: (C, R) in which passages differ most.
        passages: (T, R) unit vectors along these.
        starts: (N + 1,) int64 where the passages of each item begin.
        words: of title and everything.
        beginnings: the first letters of these words.
        letters: three letters in a row of the title.
    """

    views: FloatArray
    directions: FloatArray
    passages: FloatArray
    starts: NDArray[np.int64]
    words: TermOverlap
    beginnings: TermOverlap
    letters: TermOverlap

    @classmethod
    def of(
        cls,
        texts: Sequence[tuple[str, str, Sequence[str]]],
        titles: FloatArray,
        bodies: FloatArray,
        passages: FloatArray,
        starts: NDArray[np.int64],
    ) -> Self:
        """From (title, body, passages) of N items and the vectors (N or T, C) of these texts."""
        sums = np.zeros_like(titles)
        owner = np.repeat(np.arange(len(texts)), np.diff(starts))
        np.add.at(sums, owner, passages)
        means = sums / np.maximum(1, np.diff(starts))[:, None]
        short = [_words(title) for title, _, _ in texts]
        whole = [_words(" ".join((title, body, *more))) for title, body, more in texts]
        parts = [_letters(title) for title, _, _ in texts]
        directions = main_directions(passages, DIRECTIONS)
        return cls(
            np.stack([titles, bodies, means.astype(np.float32)]),
            directions,
            passages @ directions,
            starts,
            TermOverlap.of(short, whole),
            TermOverlap.of(list(map(beginnings, short)), list(map(beginnings, whole))),
            TermOverlap.of(parts, parts),
        )

    def __len__(self) -> int:
        return len(self.starts) - 1


@dataclass(frozen=True, slots=True, eq=False)
class PairFeatures:
    """What is known of the crowds.

    Args:
        query_mean: (C,) what all queries have in common; taken away before anything is compared.
        item_means: (V, C) what all items have in common.
        views: (V, N, C) unit vectors of the items without that.
        crowd: of items and queries.
        expansion: of queries by that crowd.
        shelf: what can be found.
    """

    query_mean: FloatArray
    item_means: FloatArray
    views: FloatArray
    crowd: HubnessCorrection
    expansion: QueryExpansion
    shelf: RelevanceFeedback

    @classmethod
    def fit(cls, queries: QueryTexts, items: ItemTexts, seed: int = 0) -> Self:
        """From the queries and items that there are, at most 1,024 of each for the crowds."""
        random = np.random.default_rng(seed)
        query_mean = queries.vectors.mean(0)
        item_means = items.views.mean(1)
        views = centred(items.views, item_means)
        some = np.sort(random.permutation(len(items))[:CROWD])
        asked = np.sort(random.permutation(len(queries.vectors))[:CROWD])
        own = unit(queries.vectors[asked] - query_mean)
        crowd = HubnessCorrection.of([own] * len(views), ReferenceItems.of(views[:, some]))
        return cls(
            query_mean,
            item_means,
            views,
            crowd,
            QueryExpansion.of(crowd),
            RelevanceFeedback.of(views),
        )

    def asked(self, queries: QueryTexts, rows: IntArray | NDArray[np.intp]) -> FloatArray:
        """(q, C) unit vectors of some queries without what all have in common."""
        return unit(queries.vectors[rows] - self.query_mean)

    def of(
        self, queries: QueryTexts, items: ItemTexts, rows: IntArray, numbers: IntArray
    ) -> FloatArray:
        """(P, F) features of pairs.

        Args:
            queries: texts and vectors.
            items: those that this was fitted on.
            rows: (P,) numbers of queries.
            numbers: (P,) numbers of items.
        """
        features = np.empty((len(rows), len(PAIR_FEATURES)), np.float32)
        last = -len(_FOUND) - len(_WORDS) - len(_WANTED) - 2
        asked, place = np.unique(rows, return_inverse=True)
        for begin in range(0, len(asked), _AT_ONCE):
            part = np.flatnonzero((place >= begin) & (place < begin + _AT_ONCE))
            own = self.asked(queries, asked[begin : begin + _AT_ONCE])
            pairs = place[part] - begin, numbers[part]
            features[part, :last] = self._likenesses(own, items, *pairs)
        order = np.argsort(place, kind="stable")
        for row, part in zip(asked.tolist(), np.split(order, _ends(place)), strict=True):
            own = self.asked(queries, np.array([row]))[0]
            features[part, last:] = np.column_stack(
                [
                    self.shelf.columns(
                        own, queries.words[row], items.words, self.views, numbers[part]
                    ),
                    _overlaps(queries, items, row, numbers[part]),
                ]
            )
        return features

    def _likenesses(
        self, own: FloatArray, items: ItemTexts, row: NDArray[np.intp], numbers: IntArray
    ) -> FloatArray:
        """Of some queries' vectors (q, C), with ``row`` (p,) of each pair's query among them."""
        different, which = np.unique(numbers, return_inverse=True)
        views, pairs = self.views[:, different], (row, which)
        columns = self.crowd.columns([own] * len(views), views, pairs)
        columns.append(_best_passages(own, row, items, different, which))
        columns += self.expansion.columns(own, views, pairs)
        return np.column_stack(columns)


def _ends(place: NDArray[np.intp]) -> NDArray[np.int64]:
    """Where the pairs of all queries but the last one end, once they are in order."""
    ends: NDArray[np.int64] = np.bincount(place).cumsum()[:-1]
    return ends


def _overlaps(queries: QueryTexts, items: ItemTexts, row: int, numbers: IntArray) -> FloatArray:
    """(p, 14) what words and letters of a query have in common with those of some items."""
    words, (before, after) = queries.words[row], queries.wanted[row]
    return np.column_stack(
        [
            items.words.of_query(words, numbers),
            items.beginnings.of_query(beginnings(words), numbers),
            items.letters.in_both(queries.letters[row], numbers),
            np.full(len(numbers), bool(after)),
            items.words.in_texts(before)[numbers],
            items.words.in_title(after, numbers),
            np.full(len(numbers), len(words)),
            np.full(len(numbers), items.words.total(words)),
        ]
    )


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
    passages = np.take(items.passages, (starts[:, None] + step)[inside], axis=0)
    likeness = np.full((len(own), len(different), most), -np.inf, np.float32)
    likeness[:, inside] = own @ items.directions @ passages.T
    found = np.partition(likeness[place, which], -min(_TOP_PASSAGES, most), axis=1)
    best = found[:, -min(_TOP_PASSAGES, most) :]
    is_there = np.isfinite(best)
    total = np.where(is_there, best, 0.0).sum(1)
    mean: FloatArray = (total / np.maximum(1, is_there.sum(1))).astype(np.float32)
    return mean


def centred(views: FloatArray, means: FloatArray) -> FloatArray:
    """(V, n, C) unit vectors without what all items have in common; a missing text stays zeros."""
    is_there = views.any(2, keepdims=True)
    return unit(np.where(is_there, views - means[:, None], 0.0).astype(np.float32))


def _words(text: str) -> frozenset[str]:
    return frozenset(tokens(text))


def _wanted(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The words before the first one of ``NEGATIONS``, and those after it."""
    words = tokens(text)
    place = next((at for at, word in enumerate(words) if word in NEGATIONS), len(words))
    return frozenset(words[:place]), frozenset(words[place + 1 :])


def _letters(text: str) -> frozenset[str]:
    normal = f" {normalise(text)} "
    return frozenset(normal[place : place + 3] for place in range(len(normal) - 2))


def beginnings(words: Collection[str]) -> frozenset[str]:
    """The first letters of words."""
    return frozenset(word[:_BEGINNING] for word in words)


_ARRAYS_FILE, _WORDS_FILE = "item_texts.safetensors", "item_words.json"
_VECTORS = ("views", "directions", "passages", "starts")
FORMAT = 2
_KINDS = ("words", "beginnings", "letters")


def save_item_texts(items: ItemTexts, folder: Path) -> None:
    """Write them into a folder (created)."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, NDArray[Any]] = {name: getattr(items, name) for name in _VECTORS}
    overlaps = {name: getattr(items, name) for name in _KINDS}
    for name, overlap in overlaps.items():
        parts |= {f"{name}.{part}": array for part, array in _arrays(overlap).items()}
    save_file(
        {name: np.ascontiguousarray(array) for name, array in parts.items()}, folder / _ARRAYS_FILE
    )
    words = {name: list(overlap.numbers) for name, overlap in overlaps.items()}
    document = {"format": FORMAT, **words}
    (folder / _WORDS_FILE).write_text(json.dumps(document), encoding="utf-8")


def open_item_texts(folder: Path) -> ItemTexts:
    """Read what ``save_item_texts`` wrote.

    Raises:
        ArtefactError: a file is missing or torn, or made by other code.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        parts = load_file(folder / _ARRAYS_FILE)
        words = json.loads((folder / _WORDS_FILE).read_text(encoding="utf-8"))
        if words.get("format") != FORMAT:
            raise ValueError(f"format {words.get('format')!r}")
        views, directions, passages, starts = (parts[name] for name in _VECTORS)
        kinds = (_overlap(words[name], parts, name, len(starts) - 1) for name in _KINDS)
        return ItemTexts(views, directions, passages, starts, *kinds)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        message = f"{folder} holds no readable texts of items: {error}."
        raise ArtefactError(message, "Run `serendip train`.") from None


def _arrays(overlap: TermOverlap) -> dict[str, NDArray[Any]]:
    return {
        "rarity": overlap.rarity,
        "titles": overlap.titles.words,
        "title starts": overlap.titles.starts,
        "having": overlap.having.words,
        "having starts": overlap.having.starts,
    }


def _overlap(
    words: list[str], parts: Mapping[str, NDArray[Any]], name: str, count: int
) -> TermOverlap:
    titles = TermSets(parts[f"{name}.titles"], parts[f"{name}.title starts"])
    having = TermSets(parts[f"{name}.having"], parts[f"{name}.having starts"])
    numbers = {word: place for place, word in enumerate(words)}
    return TermOverlap(numbers, parts[f"{name}.rarity"], float(np.log(count + 1)), titles, having)
