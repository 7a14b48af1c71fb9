"""Keywords without any LLM: from queries that led to an item, and from the items nearest to it.

A word is borrowed where several of the items nearest by text vectors have it in their titles or
lists (genres, a path of categories), rarer words counting more; words of earlier queries go first.
Words that the item has itself say nothing new, and words of half the catalogue say nothing at all.

Shapes: N items, C size of a text vector.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.item import Item
from serendip.data.text import tokens

RULES_MODEL, RULES_VERSION = "borrowed words", "rules-1"

_NEAREST = 20
_SHARPNESS = 4
"""Power of the cosine by which a near item's words count."""
_FEWEST_LENDERS = 3
_MOST_SHARE = 0.1
"""Of the items: what more of them can lend tells nothing apart."""
_MOST_WORDS = 12
_SHORTEST = 3


@dataclass(frozen=True, slots=True, eq=False)
class RulesWriter:
    """Writes keywords about items of one catalogue.

    Args:
        items: N.
        vectors: (N, C) unit vectors of their texts; zeros where there is no text.
        queries: item number -> normalised queries that may be written from.
        lent: per item the different words that it lends.
        rarity: word -> how much it tells, of words that may be borrowed.
    """

    items: Sequence[Item]
    vectors: FloatArray
    queries: Mapping[int, Sequence[str]]
    lent: Sequence[frozenset[str]]
    rarity: Mapping[str, float]

    @classmethod
    def of(
        cls, items: Sequence[Item], vectors: FloatArray, queries: Mapping[int, Sequence[str]]
    ) -> Self:
        """With the words that may be borrowed."""
        lent = [_lent(item) for item in items]
        counts = Counter(chain.from_iterable(lent))
        most = max(_MOST_SHARE * len(items), _FEWEST_LENDERS)
        rarity = {
            word: math.log(len(items) / count)
            for word, count in counts.items()
            if _FEWEST_LENDERS <= count <= most and len(word) >= _SHORTEST and word.isalpha()
        }
        return cls(items, vectors, queries, lent, rarity)

    def keywords(self, number: int) -> str:
        """Words about one item, the most telling first, joined by commas; "" = there are none."""
        item = self.items[number]
        own = set(tokens(item.text(("title", "description", *item.attributes))))
        asked = dict.fromkeys(
            word for text in self.queries.get(number, ()) for word in tokens(text)
        )
        found = [word for word in asked if word not in own and len(word) >= _SHORTEST]
        found += [word for word in self._borrowed(number) if word not in own]
        return ", ".join(list(dict.fromkeys(found))[:_MOST_WORDS])

    def _borrowed(self, number: int) -> list[str]:
        """Words that enough near items lend, the most telling first."""
        cosines = self.vectors @ self.vectors[number]
        cosines[number] = -1.0
        count = min(_NEAREST, len(cosines) - 1)
        near = np.argpartition(-cosines, count)[:count]
        weights: defaultdict[str, float] = defaultdict(float)
        lenders: Counter[str] = Counter()
        for place in near[cosines[near] > 0].tolist():
            for word in self.lent[place]:
                if word in self.rarity:
                    weights[word] += float(cosines[place]) ** _SHARPNESS * self.rarity[word]
                    lenders[word] += 1
        told = [word for word in weights if lenders[word] >= _FEWEST_LENDERS]
        return sorted(told, key=lambda word: (-weights[word], word))


def _lent(item: Item) -> frozenset[str]:
    lists = [name for name, value in item.attributes.items() if isinstance(value, tuple)]
    return frozenset(tokens(" ".join(map(item.field_text, ("title", *lists)))))
