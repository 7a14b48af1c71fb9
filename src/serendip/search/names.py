"""Names that items are found by, such as titles and values of attributes, in normal form.

A name is found as a whole, by how it goes on from one of its words, or but for slips. The names of
a generation are arrays that are mapped; those of late items are beside them.

**Values of attributes**: which items have one, best first, and which of them a text names. People
search for actors, brands and genres: a text that is a value, or is covered by several, is answered
by the items that have them. A person is also found by the last word of the name, a year (an
attribute with ``year`` in its name) by its decade.

Shapes: N items, R names, E pairs of a name and an item, S starts of words.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from operator import itemgetter
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data import NO_ITEMS, Artefact, FloatArray, IntArray, Item, locate
from serendip.data.rows.strings import StringIndex, Strings
from serendip.data.text import normalise, rows_starting, title_key, words
from serendip.search.documents import decades_of

Merits: TypeAlias = FloatArray | IntArray

_MOST_MIXED = 200  # best items with several names that others can pass which have fewer names
_EVEN = 4  # places by which the first of them is hardly ahead of the second
MAX_COMPARED = 5_000  # starts of words that are compared with a text that has a slip
FEWEST_LETTERS = 5  # of a word whose first half is looked up; fewer may be another word
FEWEST_BESIDE = 3  # letters of a word that is looked up as it is
_MOST_LONGER = 4  # bytes by which names that may be meant are longer or shorter than a text


@dataclass(frozen=True, slots=True, eq=False)
class WordStarts(Artefact):
    """The starts of all words of R texts, in the order of what follows: a suffix array.

    Args:
        rows: (S,) int32 text of each start.
        offsets: (S,) int32 character of it at which the word begins.
    """

    texts: Strings
    rows: IntArray
    offsets: IntArray

    @classmethod
    def of(cls, texts: Strings) -> Self:
        """Sort the starts of the words of all texts."""
        starts = sorted(
            (rest, row, at) for row, text in enumerate(texts) for rest, at in _rests(text)
        )
        rows, offsets = ([start[part] for start in starts] for part in (1, 2))
        return cls(texts, np.array(rows, np.int32), np.array(offsets, np.int32))

    def starting(self, prefix: str) -> tuple[IntArray, IntArray]:
        """Rows (P,) and offsets (P,) from which a text goes on with a prefix."""
        texts, rows, offsets = self.texts, self.rows.data, self.offsets.data

        def suffix(place: int) -> str:
            return texts[rows[place]][offsets[place] :]

        found = rows_starting(range(len(self.rows)), prefix, suffix)
        return self.rows[found], self.offsets[found]


def _rests(text: str) -> Iterator[tuple[str, int]]:
    for at in range(len(text)):
        if not at or text[at - 1] == " ":
            yield text[at:], at


@dataclass(frozen=True, slots=True, eq=False)
class LateNames:
    """Names of late items, replaced as a whole.

    Args:
        of_items: item -> its names.
        items: name -> items that have it.
        starts: (rest of a name from a word on, offset of the word, name), ascending.
    """

    of_items: Mapping[int, frozenset[str]] = field(default_factory=dict)
    items: Mapping[str, frozenset[int]] = field(default_factory=dict)
    starts: Sequence[tuple[str, int, str]] = ()

    def put(self, names: Mapping[int, Iterable[str]]) -> Self:
        """A copy with other names of these items."""
        of_items, items, starts = {**self.of_items}, {**self.items}, [*self.starts]
        for item, some in names.items():
            for name in of_items.get(item, ()):
                items[name] -= {item}
            of_items[item] = frozenset(some)
            for name in of_items[item]:
                for rest, at in () if name in items else _rests(name):
                    insort(starts, (rest, at, name))
                items[name] = items.get(name, frozenset()) | {item}
        return type(self)(of_items, items, starts)

    def starting(self, prefix: str) -> list[tuple[int, str]]:
        """(offset, name) from which a name goes on with a prefix."""
        found = rows_starting(self.starts, prefix, itemgetter(0))
        return [(at, name) for _, at, name in self.starts[found]]

    def having(self, names: Sequence[str]) -> IntArray:
        """Items (M,), ascending, that have all names."""
        found = [self.items.get(name, frozenset()) for name in names]
        return np.array(sorted(frozenset(self.of_items).intersection(*found)), np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Names(Artefact):
    """The names of a generation, with those of late items beside them.

    Args:
        index: R distinct names.
        texts: (R,) how each is written where a text is completed; empty = it completes none.
        starts: (R + 1,) int32 offsets of the items of each name.
        ranks: (E,) int32 of the items of each name, ascending.
        order: (N,) int32 item of each rank, best first.
        widths: (N,) int32 names that complete a text, of the item of each rank.
        word_starts: of the names that complete a text.
    """

    index: StringIndex
    texts: Strings
    starts: IntArray
    ranks: IntArray
    order: IntArray
    widths: IntArray
    word_starts: WordStarts
    late: LateNames = LateNames()

    @classmethod
    def build(
        cls, names: Iterable[Mapping[str, str]], merits: Merits | None = None, fewest: int = 1
    ) -> Self:
        """List the names of N items of merits (N,); None = all are as good.

        Args:
            names: of each item its names, and how they are written; empty = not to be completed.
            merits: larger is better.
            fewest: items of a name that completes a text.
        """
        having: defaultdict[str, list[int]] = defaultdict(list)
        written: Counter[tuple[str, str]] = Counter()
        number = -1
        for number, some in enumerate(names):
            for name, text in some.items():
                having[name].append(number)
                written[name, text] += bool(text)
        texts = dict[str, str]()
        for (name, text), _ in written.most_common():
            texts.setdefault(name, text if len(having[name]) >= fewest else "")
        merits = np.zeros(number + 1, np.float32) if merits is None else merits
        order = np.argsort(-merits, kind="stable").astype(np.int32)
        rank_of = np.empty_like(order)
        rank_of[order] = np.arange(len(order), dtype=np.int32)
        parts = [np.sort(rank_of[numbers]) for numbers in having.values()]
        named = [part for part, name in zip(parts, having, strict=True) if texts[name]]
        widths = np.bincount(np.concatenate([NO_ITEMS, *named]), minlength=len(order))
        strings = Strings.of(having)
        return cls(
            StringIndex.of(strings),
            Strings.of(texts[name] for name in having),
            np.cumsum([0, *map(len, parts)]).astype(np.int32),
            np.concatenate([NO_ITEMS, *parts]),
            order,
            widths.astype(np.int32),
            WordStarts.of(Strings.of(name if texts[name] else "" for name in having)),
        )

    def stored(self) -> dict[str, Any]:
        """All but what is late."""
        values = Artefact.stored(self)
        del values["late"]
        return values

    def with_late(self, names: Mapping[int, Iterable[str]]) -> Self:
        """A copy with other names of these items."""
        return replace(self, late=self.late.put(names))

    def __contains__(self, name: object) -> bool:
        return name in self.index

    def size(self, name: str) -> int:
        """Number of built items with a name."""
        return len(self.ranks_at(self.index.find(name)))

    def count(self, name: str) -> int:
        """Number of items with a name; changed ones count twice."""
        return self.size(name) + len(self.late.items.get(name, ()))

    def best(self, name: str, k: int) -> IntArray:
        """The k best built items with a name."""
        items: IntArray = self.order[self.ranks_at(self.index.find(name))[:k]]
        return items

    def having(self, names: Sequence[str]) -> IntArray:
        """(H,) built items with all names, best first; without any name, all items.

        Of the best with several names those come first that have few others: of romantic comedies
        what is a comedy and a romance before what is also a drama of war.
        """
        lists = sorted((self.ranks_at(self.index.find(name)) for name in names), key=len)
        if not lists:
            return self.order
        common = lists[0]
        for ranks in lists[1:]:
            common = common[locate(ranks, common)[1]]
        if len(lists) > 1:
            head = common[:_MOST_MIXED]
            worth = np.maximum(self.widths[head], 1) ** -0.5 / np.log2(_EVEN + np.arange(len(head)))
            common = np.concatenate([head[np.argsort(-worth, kind="stable")], common[len(head) :]])
        items: IntArray = self.order[common]
        return items

    def items_of(self, name: str) -> list[int]:
        """Items with a name: the built ones, best first, then the late ones."""
        return [*self.items_at(self.index.find(name)), *self.late.items.get(name, ())]

    def items_at(self, row: int) -> list[int]:
        """Items with the name of a row that are as built, best first; -1 = none."""
        items: list[int] = self.order[self.ranks_at(row)].tolist()
        late = self.late.of_items
        return [item for item in items if item not in late] if late else items

    def ranks_at(self, row: int) -> IntArray:
        """Ranks of the built items with the name of a row, ascending; -1 = none."""
        return self.ranks[self.starts[row] : self.starts[row + 1]] if row >= 0 else NO_ITEMS

    def first_ranks(self, rows: NDArray[np.integer]) -> IntArray:
        """(P,) rank of the best built item with the name of each row."""
        ranks: IntArray = self.ranks[self.starts[rows]]
        return ranks

    def near(self, key: str) -> set[str]:
        """Names that may be meant by a text with slips.

        The first half of one of its words, or a short one, is as typed. At most 5,000 names a word.
        """
        heads = {
            word[: len(word) // 2] if len(word) >= FEWEST_LETTERS else f"{word} "
            for word in words(key)
            if len(word) >= FEWEST_BESIDE
        }
        strings, found = self.index.strings, set[str]()
        for head in heads:
            rows = self.word_starts.starting(head)[0][:MAX_COMPARED]
            sizes = strings.starts[rows + 1] - strings.starts[rows]
            rows = np.unique(rows[np.abs(sizes - len(key.encode())) <= _MOST_LONGER])
            found.update(strings.take(rows.tolist()))
            found.update(name for _, name in self.late.starting(head))
        return found


MAX_VALUE_CHARACTERS = 40
MIN_VALUE_ITEMS = 2  # of a value that is suggested
MOST_WORDS = 6  # of the longest value that is looked for in a text
# Letters of a word from which on there may be more than one slip.
_LONG, _MOST_EDITS = 8, 2
_SHORT_NAME = 2  # words of a name that is found whole


class ValueTable(Names):
    """Attribute values of a catalogue."""

    __slots__ = ()

    @classmethod
    def of(cls, items: Iterable[Item], merits: FloatArray | None = None) -> Self:
        """List the values of N items of merits (N,); None = all are as good."""
        return cls.build(map(keys_of, items), merits, MIN_VALUE_ITEMS)

    def nearest(self, key: str) -> str:
        """The value that is a normal form but for slips, of several the commonest; empty = none."""
        near = (name for name in self.near(key) if _is_slip_of(name, key))
        return min(near, key=lambda name: (-self.size(name), name), default="")


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
        len(typed) >= (FEWEST_BESIDE if is_beside and len(typed) != len(word) else FEWEST_LETTERS)
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


def keys_of(item: Item) -> dict[str, str]:
    """Normal forms by which an item is found, and how those of its values are written: further
    ones are its title, its years, and the last words of its values.
    """
    keys = {key: value for value in sorted(values_of(item)) if (key := normalise(value))}
    others = [last for key in keys for last in _last_words(key)]
    others += [key for key in [title_key(item.title)] if " " in key]
    for name, value in item.attributes.items():
        if decades := decades_of(name, value):
            others += [*decades, f"{value:.0f}"]
    return dict.fromkeys(others, "") | keys


def _last_words(key: str) -> Iterator[str]:
    """The last word of a name and the last two: ``niro`` and ``de niro``; of three or more."""
    parts = key.removesuffix(" jr").removesuffix(" sr").split(" ")
    yield parts[-1]
    if len(parts) > _SHORT_NAME:
        yield " ".join(parts[-_SHORT_NAME:])
