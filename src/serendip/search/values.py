"""Values of attributes: which items have one, best first, and which of them a text names.

People search for actors, brands and genres: a text that is a value, or is covered by several, is
answered by the items that have them. A person is also found by the last word of the name, a year
(an attribute with ``year`` in its name) by its decade.

Shapes: N items, V values, K normal forms, E pairs of a normal form and an item.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray, locate
from serendip.data.artefact import Artefact
from serendip.data.items.catalogue import Item
from serendip.data.rows.strings import StringIndex, Strings
from serendip.data.text import normalise, title_key, words
from serendip.search.documents import decades_of
from serendip.search.word_starts import WordStarts

MAX_VALUE_CHARACTERS = 40
MIN_VALUE_ITEMS = 2
"""Fewest items of a value that is suggested."""

MOST_WORDS = 6
"""Words of the longest value that is looked for in a text."""

MAX_COMPARED = 5_000
_FEWEST_LETTERS, _LONG, _MOST_EDITS = 5, 8, 2
"""Letters of a word in which there may be a slip, as fewer may be another word, or a name, and from
which on there may be two.
"""

_FEWEST_BESIDE = 3
"""Letters of a word in which one may be missing, or too many, beside words as they should be."""

_SHORT_NAME = 2
"""Words of a name that is found whole."""


@dataclass(frozen=True, slots=True, eq=False)
class ValueTable(Artefact):
    """Attribute values of a catalogue, read by memory map.

    Args:
        index: distinct values, V of them.
        counts: (V,) int32 number of items with each value.
        word_starts: of the normal forms of values that ``MIN_VALUE_ITEMS`` items have.
        keys: normal forms by which items are found, K of them.
        starts: (K + 1,) offsets of their items.
        ranks: (E,) int32 of the items of each, ascending.
        order: (N,) int32 item of each rank, best first.
    """

    index: StringIndex
    counts: IntArray
    word_starts: WordStarts
    keys: StringIndex
    starts: IntArray
    ranks: IntArray
    order: IntArray

    @classmethod
    def of(cls, items: Iterable[Item], merits: FloatArray | None = None) -> ValueTable:
        """Count and list the values of N items of merits (N,); None = all are as good."""
        counts: Counter[str] = Counter()
        having: defaultdict[str, list[int]] = defaultdict(list)
        number = -1
        for number, item in enumerate(items):
            counts.update(sorted(values_of(item)))  # sets have no order of their own
            for key in sorted(keys_of(item)):
                having[key].append(number)
        enough = (
            normalise(value) if count >= MIN_VALUE_ITEMS else "" for value, count in counts.items()
        )
        merits = np.zeros(number + 1, np.float32) if merits is None else merits
        order = np.argsort(-merits, kind="stable").astype(np.int32)
        rank_of = np.empty_like(order)
        rank_of[order] = np.arange(len(order), dtype=np.int32)
        parts = [np.sort(rank_of[numbers]) for numbers in having.values()]
        return cls(
            StringIndex.of(Strings.of(counts)),
            np.array(list(counts.values()), np.int32),
            WordStarts.of(Strings.of(enough)),
            StringIndex.of(Strings.of(having)),
            np.cumsum([0, *map(len, parts)]).astype(np.int32),
            np.concatenate([NO_ITEMS, *parts]),
            order,
        )

    def count(self, value: str) -> int:
        """Number of items with a value."""
        row = self.index.find(value)
        return int(self.counts[row]) if row >= 0 else 0

    def starting(self, key: str, most: int | None = None) -> set[str]:
        """Values that contain a normal form as a prefix from one of their words on.

        At most ``most`` words of values are looked at; None = all.
        """
        rows, _ = self.word_starts.starting(key)
        return set(self.index.strings.take(np.unique(rows[:most]).tolist()))

    def nearest(self, key: str) -> str:
        """The value that is a normal form but for slips, of several the commonest; empty = none.

        The first half of one of its words, or a short one, must be as typed; compares at most
        5,000 values a word.
        """
        heads = {
            word[: len(word) // 2] if len(word) >= _FEWEST_LETTERS else f"{word} "
            for word in words(key)
            if len(word) >= _FEWEST_BESIDE
        }
        values = set().union(*(self.starting(head, MAX_COMPARED) for head in heads))
        near = {name for name in map(normalise, values) if _is_slip_of(name, key)}
        return min(near, key=lambda name: (-self.size(name), name), default="")

    def size(self, key: str) -> int:
        """Number of items that a normal form finds."""
        return len(self._ranks_of(key))

    def having(self, keys: Sequence[str]) -> IntArray:
        """(H,) items that all normal forms find, best first; without any, all items."""
        lists = sorted(map(self._ranks_of, keys), key=len)
        if not lists:
            return self.order
        common = lists[0]
        for ranks in lists[1:]:
            common = common[locate(ranks, common)[1]]
        items: IntArray = self.order[common]
        return items

    def best(self, key: str, k: int) -> IntArray:
        """The k best items that a normal form finds."""
        items: IntArray = self.order[self._ranks_of(key)[:k]]
        return items

    def _ranks_of(self, key: str) -> IntArray:
        row = self.keys.find(key)
        return self.ranks[self.starts[row] : self.starts[row + 1]] if row >= 0 else NO_ITEMS


def _is_slip_of(name: str, key: str) -> bool:
    """Whether a text differs from a name by spaces, or by an edit of words but their beginning,
    two of a long word.
    """
    from rapidfuzz.distance import OSA

    if key.replace(" ", "") == name.replace(" ", ""):
        return key != name
    pairs = zip_longest(key.split(" "), name.split(" "), fillvalue="")
    slips = [(typed, word) for typed, word in pairs if typed != word]
    is_beside = len(slips) == 1 < len(name.split(" "))
    return all(
        len(typed) >= (_FEWEST_BESIDE if is_beside and len(typed) != len(word) else _FEWEST_LETTERS)
        and typed[0] == word[:1]
        and OSA.distance(typed, word) <= (1 if len(typed) < _LONG else _MOST_EDITS)
        for typed, word in slips
    )


def values_of(item: Item) -> set[str]:
    """Distinct short text values of an item's attributes."""
    values: set[str] = set()
    for attribute in item.attributes.values():
        if isinstance(attribute, tuple):
            values.update(attribute)
        elif isinstance(attribute, str):
            values.add(attribute)
    return {value for value in values if 0 < len(value) <= MAX_VALUE_CHARACTERS}


def keys_of(item: Item) -> set[str]:
    """Normal forms by which an item is found: of its values, their last words, its years."""
    keys = {key for value in values_of(item) if (key := normalise(value))}
    keys |= {last for key in keys for last in _last_words(key)}
    keys |= {key for key in [title_key(item.title)] if " " in key}
    for name, value in item.attributes.items():
        if decades := decades_of(name, value):
            keys.update((*decades, f"{value:.0f}"))
    return keys


def _last_words(key: str) -> Iterator[str]:
    """The last word of a name and the last two: ``niro`` and ``de niro``; of three or more."""
    parts = key.removesuffix(" jr").removesuffix(" sr").split(" ")
    yield parts[-1]
    if len(parts) > _SHORT_NAME:
        yield " ".join(parts[-_SHORT_NAME:])
