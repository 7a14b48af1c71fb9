"""Queries worth typing: how a title goes on, what an attribute can be, what is popular.

Sources, in the order of the answer: attribute values that begin with the prefix (at most two),
titles that begin with it, titles with a later word that does, titles that hold it inside a word of
a script without spaces, and - only where all of these are empty - titles that were probably meant.
Nothing is suggested that would find nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from serendip.data.item import Item
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
        text: as it is shown and searched.
        kind: where it came from.
        item_num: the item that bears exactly this title; -1 where it is no title.
        count: items with this attribute value; 1 for titles.
    """

    text: str
    kind: Kind
    item_num: int = NO_ITEM
    count: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Suggester:
    """Suggests queries that the searcher can answer.

    Args:
        searcher: answers them; posted and deleted items are its business.
        counts: attribute value -> number of items with it.
        values: (start, value) sorted: the normalised value from each of its words on.
    """

    searcher: Searcher
    counts: Mapping[str, int]
    values: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, items: Iterable[Item], searcher: Searcher) -> Suggester:
        """Suggest from the titles of ``searcher`` and from attribute values of ``items``.

        Values that fewer than two items share, and those above 40 characters, are left out.
        """
        return cls._of(Counter(value for item in items for value in _values(item)), searcher)

    def with_items(self, items: Iterable[Item], searcher: Searcher) -> Suggester:
        """A copy for a searcher that has these items, too."""
        more = Counter(value for item in items for value in _values(item))
        return self._of(Counter(self.counts) + more, searcher)

    def with_searcher(self, searcher: Searcher) -> Suggester:
        """A copy for a searcher from which items were deleted."""
        return Suggester(searcher, self.counts, self.values)

    def suggest(self, prefix: str, k: int = 8) -> list[Suggested]:
        """The k best suggestions, without repetitions.

        Args:
            prefix: what was typed so far; blank gives the most popular titles.
            k: at most this many; below 1 gives none.
        """
        if k < 1:
            return []
        key = title_key(prefix)
        found: dict[str, Suggested] = {}
        sources = (self._attributes(key), self._titles(key, k), self._inside(key, k))
        for source in sources:
            self._add(found, source, k)
        if not found:
            self._add(found, self._meant(prefix, k), k)
        return list(found.values())

    @classmethod
    def _of(cls, counts: Counter[str], searcher: Searcher) -> Suggester:
        starts = []
        for value, count in counts.items():
            key = normalise(value)
            if key and count >= MIN_VALUE_ITEMS:
                starts.append((key, value))
                starts.extend((key[at + 1 :], value) for at, sign in enumerate(key) if sign == " ")
        return cls(searcher, counts, tuple(sorted(starts)))

    def _add(self, found: dict[str, Suggested], source: Iterator[Suggested], k: int) -> None:
        for one in source:
            if len(found) >= k:
                return
            found.setdefault(title_key(one.text), one)

    def _attributes(self, key: str) -> Iterator[Suggested]:
        if not key:
            return
        begin = bisect_left(self.values, (key, ""))
        end = bisect_left(self.values, (key + _LAST, ""), begin)
        matching = {value for _, value in self.values[begin:end]}
        ranked = sorted(matching, key=lambda value: (-self.counts[value], value))
        living = (value for value in ranked if len(self.searcher.lexical.search(value, 1)))
        for value, _ in zip(living, range(MAX_ATTRIBUTES), strict=False):
            yield Suggested(value, "attribute", count=self.counts[value])

    def _titles(self, key: str, k: int) -> Iterator[Suggested]:
        for bearer in self.searcher.titles.completions(key, k):
            yield _title(bearer, "title")

    def _inside(self, key: str, k: int) -> Iterator[Suggested]:
        """Titles with ``key`` in the middle of a word: 커피 in 아이스커피."""
        if not query_grams(key):
            return
        for number in self.searcher.lexical.search(key, k).item_nums.tolist():
            title = self.searcher.keys[number]
            if key in title:
                yield from (_title(one, "title") for one in self._bearers(title)[:1])

    def _meant(self, prefix: str, k: int) -> Iterator[Suggested]:
        """Titles near to the text, else those that go on from about it or its corrected words."""
        reading, titles = self.searcher.read(prefix), self.searcher.titles
        for number in reading.corrected.tolist()[:k]:
            for one in self._bearers(self.searcher.keys[number]):
                yield _title(one, "spelling")
        before, _, last = reading.key.rpartition(" ")
        start = f"{self.searcher.speller.corrected(before)} {last}".strip()
        for one in titles.completions(start, k) or titles.near_completions(start, k):
            yield _title(one, "spelling")

    def _bearers(self, key: str) -> list[TitledItem]:
        return self.searcher.titles.bearers(key)


def _title(bearer: TitledItem, kind: Kind) -> Suggested:
    return Suggested(bearer.title, kind, bearer.item_num)


def _values(item: Item) -> Iterator[str]:
    """Distinct short text values of an item's attributes."""
    found: set[str] = set()
    for value in item.attributes.values():
        if isinstance(value, tuple):
            found.update(value)
        elif isinstance(value, str):
            found.add(value)
    yield from (value for value in found if 0 < len(value) <= MAX_VALUE_CHARACTERS)
