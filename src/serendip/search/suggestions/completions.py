"""Query autocompletion from titles, attribute values and popularity.

Sources, in the order of the answer: attribute values that begin with the prefix (at most two),
titles that begin with it, titles with a later word that does, titles that contain it inside a word
of a script without spaces, and, only if all of these are empty, titles that were probably meant.
Every suggestion has results.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import IntArray
from serendip.data.items.catalogue import Item
from serendip.data.rows.append_log import GrowingCounter
from serendip.data.rows.strings import StringIndex, Strings
from serendip.data.text import normalise, query_grams, title_key
from serendip.search.searcher import Searcher
from serendip.search.titles import TitledItem

MAX_ATTRIBUTES = 2
MAX_VALUE_CHARACTERS = 40
MIN_VALUE_ITEMS = 2
NO_ITEM = -1
_LAST = "\U0010ffff"

Kind = Literal["title", "attribute", "spelling"]


@dataclass(frozen=True, slots=True)
class Suggested:
    """One suggested query.

    Args:
        text: as shown and searched.
        kind: where it came from.
        item_num: the item with exactly this title; -1 if it is not a title.
        count: items with this attribute value; 1 for titles.
    """

    text: str
    kind: Kind
    item_num: int = NO_ITEM
    count: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class ValueTable:
    """Attribute values of a catalogue, read by memory map.

    Args:
        index: distinct values, V of them.
        counts: (V,) int32 number of items with each value.
        suffixes: normalised values from each of their words on, ascending, of the values that
            ``MIN_VALUE_ITEMS`` items have.
        rows: row of the value of each suffix.
    """

    index: StringIndex
    counts: IntArray
    suffixes: Strings
    rows: IntArray

    @classmethod
    def of(cls, items: Iterable[Item]) -> ValueTable:
        """Count the values of items."""
        counts = Counter(value for item in items for value in _values(item))
        suffixes = sorted(
            (suffix, row)
            for row, (value, count) in enumerate(counts.items())
            if count >= MIN_VALUE_ITEMS
            for suffix in _suffixes(value)
        )
        return cls(
            StringIndex.of(Strings.of(counts)),
            np.array(list(counts.values()), np.int32),
            Strings.of(suffix for suffix, _ in suffixes),
            np.array([row for _, row in suffixes], np.int32),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays to store, by name."""
        arrays = {"counts": self.counts, "rows": self.rows}
        return {**arrays, **self.index.arrays("values"), **self.suffixes.arrays("suffixes")}

    @classmethod
    def of_arrays(cls, stored: Mapping[str, NDArray[Any]]) -> ValueTable:
        """Rebuild from ``arrays``."""
        index = StringIndex.of_arrays("values", stored)
        suffixes = Strings.of_arrays("suffixes", stored)
        return cls(index, stored["counts"], suffixes, stored["rows"])

    def count(self, value: str) -> int:
        """Number of items with a value."""
        row = self.index.find(value)
        return int(self.counts[row]) if row >= 0 else 0

    def starting(self, key: str) -> set[str]:
        """Values that contain a normal form as a prefix from one of their words on."""
        begin = bisect_left(self.suffixes, key)
        end = bisect_left(self.suffixes, key + _LAST, begin)
        return set(self.index.strings.take(np.unique(self.rows[begin:end]).tolist()))


@dataclass(frozen=True, slots=True, eq=False)
class Suggester:
    """Completes prefixes to queries that the searcher can answer.

    Args:
        searcher: answers them; handles posted and deleted items.
        built: attribute values of the catalogue.
        posted: number of items posted later with each attribute value.
        newer: sorted (suffix, value) of values that only posted items made frequent enough.
    """

    searcher: Searcher
    built: ValueTable
    posted: GrowingCounter = field(default_factory=GrowingCounter)
    newer: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, items: Iterable[Item], searcher: Searcher) -> Suggester:
        """Build from the titles of ``searcher`` and the attribute values of ``items``.

        Values of fewer than two items, and those above 40 characters, are dropped.
        """
        return cls(searcher, ValueTable.of(items))

    def with_items(self, items: Iterable[Item], searcher: Searcher) -> Suggester:
        """A copy for a searcher that also has these items."""
        found = [value for item in items for value in _values(item)]
        changed = replace(self, searcher=searcher, posted=self.posted.with_strings(found))
        grown = {
            value for value in found if self.count(value) < MIN_VALUE_ITEMS <= changed.count(value)
        }
        if not grown:
            return changed
        newer = [(suffix, value) for value in grown for suffix in _suffixes(value)]
        return replace(changed, newer=tuple(sorted((*self.newer, *newer))))

    def with_searcher(self, searcher: Searcher) -> Suggester:
        """A copy for a searcher from which items were deleted."""
        return replace(self, searcher=searcher)

    def count(self, value: str) -> int:
        """Number of items with an attribute value."""
        return self.built.count(value) + self.posted[value]

    def suggest(self, prefix: str, k: int = 8) -> list[Suggested]:
        """The k best suggestions, without repetitions.

        Args:
            prefix: the text typed so far; blank gives the most popular titles.
            k: maximum number; below 1 gives none.
        """
        if k < 1:
            return []
        key = title_key(prefix)
        found: dict[str, Suggested] = {}
        sources = (self._attributes(key), self._titles(key, k), self._inside(key, k))
        for source in sources:
            self._add(found, source, k)
        if not found:
            self._add(found, self._corrections(prefix, k), k)
        return list(found.values())

    def _add(self, found: dict[str, Suggested], source: Iterator[Suggested], k: int) -> None:
        for suggestion in source:
            if len(found) >= k:
                return
            found.setdefault(title_key(suggestion.text), suggestion)

    def _attributes(self, key: str) -> Iterator[Suggested]:
        if not key:
            return
        begin = bisect_left(self.newer, (key, ""))
        end = bisect_left(self.newer, (key + _LAST, ""), begin)
        matching = self.built.starting(key) | {value for _, value in self.newer[begin:end]}
        counts = {value: self.count(value) for value in matching}
        ranked = sorted(matching, key=lambda value: (-counts[value], value))
        answered = (value for value in ranked if len(self.searcher.lexical.search(value, 1)))
        for value, _ in zip(answered, range(MAX_ATTRIBUTES), strict=False):
            yield Suggested(value, "attribute", count=counts[value])

    def _titles(self, key: str, k: int) -> Iterator[Suggested]:
        for item in self.searcher.titles.completions(key, k):
            yield _suggest_title(item, "title")

    def _inside(self, key: str, k: int) -> Iterator[Suggested]:
        """Titles with ``key`` in the middle of a word: 커피 in 아이스커피."""
        if not query_grams(key):
            return
        for number in self.searcher.lexical.search(key, k).item_nums.tolist():
            title = self.searcher.titles.key(number)
            if key in title:
                titled = self._items_titled(title)[:1]
                yield from (_suggest_title(item, "title") for item in titled)

    def _corrections(self, prefix: str, k: int) -> Iterator[Suggested]:
        """Titles near the text, else completions of its corrected words or of a near prefix."""
        reading, titles = self.searcher.read(prefix), self.searcher.titles
        for number in reading.corrected.tolist()[:k]:
            for item in self._items_titled(self.searcher.titles.key(number)):
                yield _suggest_title(item, "spelling")
        before, _, last = reading.key.rpartition(" ")
        start = f"{self.searcher.speller.correct_text(before)} {last}".strip()
        for item in titles.completions(start, k) or titles.near_completions(start, k):
            yield _suggest_title(item, "spelling")

    def _items_titled(self, key: str) -> list[TitledItem]:
        return self.searcher.titles.bearers(key)


def _suggest_title(item: TitledItem, kind: Kind) -> Suggested:
    return Suggested(item.title, kind, item.item_num)


def _values(item: Item) -> Iterator[str]:
    """Distinct short text values of an item's attributes."""
    values: set[str] = set()
    for attribute in item.attributes.values():
        if isinstance(attribute, tuple):
            values.update(attribute)
        elif isinstance(attribute, str):
            values.add(attribute)
    yield from (value for value in values if 0 < len(value) <= MAX_VALUE_CHARACTERS)


def _suffixes(value: str) -> Iterator[str]:
    """The normalised value from each of its words on."""
    key = normalise(value)
    if key:
        yield key
        yield from (key[at + 1 :] for at, sign in enumerate(key) if sign == " ")
