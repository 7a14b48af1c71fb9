"""Query autocompletion from titles, attribute values and popularity.

Sources, in the order of the answer: attribute values that begin with the prefix (at most two),
titles that begin with it, titles with a later word that does, titles that contain it inside a word
of a script without spaces, and, only if all of these are empty, titles that were probably meant.
Every suggestion has results.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from serendip.data.text import query_grams, title_key
from serendip.search.searcher import Searcher
from serendip.search.titles import TitledItem

MAX_ATTRIBUTES = 2
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
class Suggester:
    """Completes prefixes to queries that the searcher can answer.

    Args:
        searcher: answers them; has the titles and values of all items, late ones too.
    """

    searcher: Searcher

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
        searcher, late = self.searcher, self.searcher.late_suffixes
        begin = bisect_left(late, (key, ""))
        end = bisect_left(late, (key + _LAST, ""), begin)
        matching = searcher.values.starting(key) | {value for _, value in late[begin:end]}
        counts = {value: searcher.count_value(value) for value in matching}
        ranked = sorted(matching, key=lambda value: (-counts[value], value))
        answered = (value for value in ranked if len(searcher.lexical.search(value, 1)))
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
