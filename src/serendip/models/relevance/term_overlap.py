"""Term overlap of queries and items, weighted by inverse document frequency.

Shapes: N items, W words, p pairs of one query.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray

OVERLAPS = ("in title", "in text", "of both", "rarest")


@dataclass(frozen=True, slots=True, eq=False)
class TermSets:
    """Sets of words of N texts.

    Args:
        words: (T,) int32 numbers of words, text by text.
        starts: (N + 1,) int64 where each text begins.
    """

    words: IntArray
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[Collection[str]], numbers: dict[str, int]) -> Self:
        """From sets of words that all have numbers."""
        flat = [numbers[word] for words in texts for word in words]
        return cls(np.array(flat, np.int32), np.cumsum([0, *map(len, texts)]))

    def turned(self, num_words: int) -> TermSets:
        """The texts of each word: ``words`` are numbers of texts, ``starts`` (W + 1,)."""
        owner = np.repeat(np.arange(len(self.starts) - 1, dtype=np.int32), np.diff(self.starts))
        order = np.argsort(self.words, kind="stable")
        counts = np.bincount(self.words, minlength=num_words)
        return TermSets(owner[order], np.concatenate([[0], counts.cumsum()]))

    def lengths(self, texts: IntArray) -> NDArray[np.int64]:
        """(p,) how many words the texts have."""
        return self.starts[texts + 1] - self.starts[texts]

    def weighed(self, weights: FloatArray, texts: IntArray) -> FloatArray:
        """(p,) sum of the weights (W,) of the words of some texts."""
        lengths = self.lengths(texts)
        owner = np.repeat(np.arange(len(texts)), lengths)
        ends = lengths.cumsum()
        place = np.arange(len(owner)) + np.repeat(self.starts[texts] - (ends - lengths), lengths)
        sums = np.bincount(owner, weights[self.words[place]], len(texts))
        return sums.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class TermOverlap:
    """Words of N items, and how rare they are among them.

    Args:
        numbers: word -> its number.
        rarity: (W,) log(N / items that have the word).
        unknown: rarity of words that no item has.
        titles: words of titles.
        having: which items have each word in title or text.
    """

    numbers: dict[str, int]
    rarity: FloatArray
    unknown: float
    titles: TermSets
    having: TermSets

    @classmethod
    def of(cls, titles: Sequence[Collection[str]], texts: Sequence[Collection[str]]) -> Self:
        """From sets of words; those of a title are among those of the text."""
        every = dict.fromkeys(word for words in texts for word in words)
        numbers = {word: place for place, word in enumerate(every)}
        bags = TermSets.of(texts, numbers)
        counts = np.bincount(bags.words, minlength=len(numbers))
        rarity = np.log(len(texts) / counts).astype(np.float32)
        unknown, having = float(np.log(len(texts) + 1)), bags.turned(len(numbers))
        return cls(numbers, rarity, unknown, TermSets.of(titles, numbers), having)

    def total(self, words: Collection[str]) -> float:
        """Summed rarity of a query's words."""
        places = self._places(words)
        return float(self.rarity[places].sum()) + self.unknown * (len(words) - len(places))

    def of_query(self, words: Collection[str], items: IntArray) -> FloatArray:
        """(p, 4) ``OVERLAPS`` of a query with some items.

        Which share of the query's rarity is in the title and in the text, which share of the words
        of query and title is in both, and how rare the rarest word is that the text has, too.
        """
        in_text, rarest = self._in_texts(words)
        columns = self.in_title(words, items), in_text[items], self.in_both(words, items)
        return np.column_stack([*columns, rarest[items]]).astype(np.float32)

    def in_title(self, words: Collection[str], items: IntArray) -> FloatArray:
        """(p,) which share of the rarity of a query is in the titles of some items."""
        places = self._places(words)
        if not len(places):
            return np.zeros(len(items), np.float32)
        weights = np.zeros_like(self.rarity)
        weights[places] = self.rarity[places]
        share: FloatArray = self.titles.weighed(weights, items) / (self.total(words) or 1.0)
        return share

    def in_texts(self, words: Collection[str]) -> FloatArray:
        """(N,) which share of the rarity of a query is in the texts of all items."""
        return self._in_texts(words)[0]

    def _in_texts(self, words: Collection[str]) -> tuple[FloatArray, FloatArray]:
        """(N,) that share, and the rarity of the rarest word of the query that a text has."""
        sums, most = np.zeros((2, len(self.titles.starts) - 1), np.float32)
        places = self._places(words)
        for place in places[np.argsort(self.rarity[places], kind="stable")].tolist():
            begin, end = self.having.starts[place : place + 2]
            texts = self.having.words[begin:end]
            sums[texts] += self.rarity[place]
            most[texts] = self.rarity[place]
        return sums / (self.total(words) or 1.0), most

    def of_items(self, found: IntArray, counts: FloatArray, items: IntArray) -> FloatArray:
        """(p,) how much of what titles have in common is in others, long ones counting less.

        Args:
            found: (n,) items whose titles' words are looked for.
            counts: (n,) what each of them counts.
            items: (p,) the others.
        """
        lengths = self.titles.lengths(found)
        starts = np.repeat(self.titles.starts[found] - (lengths.cumsum() - lengths), lengths)
        words = self.titles.words[starts + np.arange(len(starts))]
        weights = np.zeros_like(self.rarity)
        np.add.at(weights, words, np.repeat(counts, lengths) * self.rarity[words])
        total = float(weights.sum()) or 1.0
        common = self.titles.weighed(weights, items)
        share: FloatArray = common / total / np.sqrt(1.0 + self.titles.lengths(items))
        return share.astype(np.float32)

    def in_both(self, words: Collection[str], items: IntArray) -> FloatArray:
        """(p,) which share of the words of a query and of titles is in both."""
        weights = np.zeros_like(self.rarity)
        weights[self._places(words)] = 1.0
        common = self.titles.weighed(weights, items)
        either = len(words) + self.titles.lengths(items) - common
        return np.asarray(common / np.maximum(1.0, either), np.float32)

    def _places(self, words: Collection[str]) -> NDArray[np.int64]:
        return np.array([self.numbers[word] for word in words if word in self.numbers], np.int64)
