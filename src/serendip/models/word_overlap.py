"""Words that a query and an item have in common, rare ones counting more.

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
class Bags:
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

    def lengths(self, texts: IntArray) -> NDArray[np.int64]:
        """(p,) how many words the texts have."""
        return np.diff(self.starts)[texts]

    def weighed(self, weights: FloatArray, texts: IntArray) -> tuple[FloatArray, FloatArray]:
        """(p,) sum and maximum, 0 or more, of the weights (W,) of the words of some texts."""
        lengths = self.lengths(texts)
        owner = np.repeat(np.arange(len(texts)), lengths)
        ends = lengths.cumsum()
        place = np.arange(len(owner)) + np.repeat(self.starts[texts] - (ends - lengths), lengths)
        values = weights[self.words[place]]
        sums = np.bincount(owner, values, len(texts)).astype(np.float32)
        most = np.zeros(len(texts), np.float32)
        hit = np.flatnonzero(values > 0)
        np.maximum.at(most, owner[hit], values[hit])
        return sums, most


@dataclass(frozen=True, slots=True, eq=False)
class WordOverlap:
    """Words of N items, and how rare they are among them.

    Args:
        numbers: word -> its number.
        rarity: (W,) log(N / items that have the word).
        unknown: rarity of words that no item has.
        titles: words of titles.
        texts: words of titles and everything else.
    """

    numbers: dict[str, int]
    rarity: FloatArray
    unknown: float
    titles: Bags
    texts: Bags

    @classmethod
    def of(cls, titles: Sequence[Collection[str]], texts: Sequence[Collection[str]]) -> Self:
        """From sets of words; those of a title are among those of the text."""
        every = dict.fromkeys(word for words in texts for word in words)
        numbers = {word: place for place, word in enumerate(every)}
        bags = Bags.of(texts, numbers)
        counts = np.bincount(bags.words, minlength=len(numbers))
        rarity = np.log(len(texts) / counts).astype(np.float32)
        return cls(numbers, rarity, float(np.log(len(texts) + 1)), Bags.of(titles, numbers), bags)

    def total(self, words: Collection[str]) -> float:
        """Summed rarity of a query's words."""
        places = self._places(words)
        return float(self.rarity[places].sum()) + self.unknown * (len(words) - len(places))

    def of_query(self, words: Collection[str], items: IntArray) -> FloatArray:
        """(p, 4) ``OVERLAPS`` of a query with some items.

        Which share of the query's rarity is in the title and in the text, which share of the words
        of query and title is in both, and how rare the rarest word is that the text has, too.
        """
        places, total = self._places(words), self.total(words)
        weights = np.zeros_like(self.rarity)
        weights[places] = self.rarity[places]
        in_title, _ = self.titles.weighed(weights, items)
        in_text, rarest = self.texts.weighed(weights, items)
        shares = in_title / (total or 1.0), in_text / (total or 1.0)
        both = self.in_both(words, items)
        return np.column_stack([*shares, both, rarest]).astype(np.float32)

    def in_both(self, words: Collection[str], items: IntArray) -> FloatArray:
        """(p,) which share of the words of a query and of titles is in both."""
        weights = np.zeros_like(self.rarity)
        weights[self._places(words)] = 1.0
        common, _ = self.titles.weighed(weights, items)
        either = len(words) + self.titles.lengths(items) - common
        return np.asarray(common / np.maximum(1.0, either), np.float32)

    def _places(self, words: Collection[str]) -> NDArray[np.int64]:
        return np.array([self.numbers[word] for word in words if word in self.numbers], np.int64)
