"""Title index: look-up of items by exact title, near title (edit distance) and prefix.

Titles are compared in their normal form (``data.text.title_key``). A title with names in brackets,
"The Postman (Il Postino)", is also found without them and by each of them.

``TitleTable`` is an immutable set of titles, sorted for look-up by whole title, by prefix and by
word. ``TitleIndex`` combines the built table and the table of posted items: posting rebuilds only
the small one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.item import Item
from serendip.data.text import title_key
from serendip.search.spelling.typos import EditIndex

MAX_COMPARED = 5_000
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class TitledItem:
    """An item under one of its titles.

    Args:
        item_num: its number.
        title: as written.
        popularity: interactions, 0 or more.
    """

    item_num: int
    title: str
    popularity: float


class TitleTable:
    """Titles by normal form.

    Attributes:
        bearers: normal form -> items with this title, most popular first.
        keys: the normal forms, sorted; a row is an index into it.
        popularity: (R,) of the most popular item of each row.
        edits: index of the normal forms by edit distance.
    """

    __slots__ = ("_rows", "_starts", "_words", "bearers", "edits", "keys", "popularity")

    def __init__(self, bearers: Iterable[tuple[str, TitledItem]]) -> None:
        grouped: dict[str, list[TitledItem]] = defaultdict(list)
        for key, item in bearers:
            grouped[key].append(item)
        self.bearers: Mapping[str, tuple[TitledItem, ...]] = {
            key: tuple(sorted(items, key=lambda item: (-item.popularity, item.item_num)))
            for key, items in grouped.items()
        }
        self.keys = sorted(self.bearers)
        self.popularity = np.asarray(
            [self.bearers[key][0].popularity for key in self.keys], dtype=np.float32
        )
        self.edits = EditIndex(self.keys)
        self._words, self._starts, self._rows = _postings(self.keys)

    def starting(self, prefix: str) -> IntArray:
        """Rows of titles that begin with ``prefix``."""
        begin, end = _range(self.keys, prefix)
        return np.arange(begin, end, dtype=np.int32)

    def with_word_starting(self, prefix: str) -> IntArray:
        """Rows of titles in which ``prefix`` begins at a later word."""
        first = prefix.partition(" ")[0]
        begin, end = _range(self._words, first)
        if first != prefix:
            end = begin + (begin < len(self._words) and self._words[begin] == first)
        rows = np.unique(self._rows[self._starts[begin] : self._starts[end]])
        if first == prefix:
            return rows
        inside = f" {prefix}"
        return np.asarray([row for row in rows if inside in self.keys[row]], dtype=np.int32)

    def nearly_starting(self, prefix: str) -> IntArray:
        """Rows of titles with a prefix, from any word on, at most one edit from ``prefix``.

        The first half of ``prefix`` must match exactly; compares at most 5,000 titles.
        """
        from rapidfuzz.distance import OSA

        head = prefix[: len(prefix) // 2]
        if not head:
            return np.empty(0, dtype=np.int32)
        candidates = np.union1d(self.starting(head), self.with_word_starting(head))
        near = [
            row
            for row in candidates[:MAX_COMPARED].tolist()
            if any(
                OSA.distance(prefix, piece, score_cutoff=1) <= 1
                for piece in _pieces(self.keys[row], head, len(prefix))
            )
        ]
        return np.asarray(near, dtype=np.int32)


def _pieces(key: str, head: str, length: int) -> Iterator[str]:
    """Substrings of about ``length`` characters that begin at a word and with ``head``."""
    padded = f" {key}"
    at = padded.find(f" {head}")
    while at >= 0:
        for size in (length - 1, length, length + 1):
            yield padded[at + 1 : at + 1 + size]
        at = padded.find(f" {head}", at + 1)


def _postings(keys: Sequence[str]) -> tuple[list[str], IntArray, IntArray]:
    """Postings of all words but the first of each title: sorted words, offsets, rows."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        for word in key.split(" ")[1:]:
            rows[word].append(row)
    ordered = sorted(rows)
    starts = np.cumsum([0, *(len(rows[word]) for word in ordered)]).astype(np.int32)
    flat = [row for word in ordered for row in rows[word]]
    return ordered, starts, np.asarray(flat, dtype=np.int32)


def _range(ordered: Sequence[str], prefix: str) -> tuple[int, int]:
    begin = bisect_left(ordered, prefix)
    return begin, bisect_left(ordered, prefix + _LAST, begin)


MIN_LENGTH_ONE_EDIT = 4
MIN_LENGTH_TWO_EDITS = 10

_BRACKETS = re.compile(r"\(([^()]*)\)")
_KNOWN_AS = re.compile(r"^\s*a\.?k\.?a\.?\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class TitleIndex:
    """Titles of a catalogue and of items posted since, without deleted ones.

    Args:
        popularity: (N,) interactions per built item; posted ones have none.
        built: titles of the catalogue.
        posted: titles posted or changed later.
        changed: item numbers whose built titles are outdated.
        deleted: item numbers that are never returned.
    """

    popularity: FloatArray
    built: TitleTable
    posted: TitleTable
    changed: frozenset[int] = frozenset()
    deleted: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls, items: Sequence[Item], popularity: FloatArray, keys: Sequence[str] | None = None
    ) -> TitleIndex:
        """Index the titles of items numbered from 0.

        Args:
            items: those without a title are skipped.
            popularity: (N,) interactions per item; orders equal titles and completions.
            keys: ``title_key`` of every item, if computed already.
        """
        built = TitleTable(_titled_items(range(len(items)), items, popularity, keys))
        return cls(popularity, built, TitleTable(()))

    def with_items(self, items: Sequence[Item], first_number: int) -> TitleIndex:
        """A copy with new items, numbered from ``first_number`` on, of popularity 0."""
        return self.with_changed_items(range(first_number, first_number + len(items)), items)

    def with_changed_items(self, item_nums: Sequence[int], items: Sequence[Item]) -> TitleIndex:
        """A copy in which these numbers have new titles; restores deleted ones."""
        numbers = frozenset(int(number) for number in item_nums)
        old = (
            (key, item)
            for key, titled in self.posted.bearers.items()
            for item in titled
            if item.item_num not in numbers
        )
        new = _titled_items(item_nums, items, self.popularity, None)
        return replace(
            self,
            posted=TitleTable((*old, *new)),
            changed=self.changed | {n for n in numbers if n < len(self.popularity)},
            deleted=self.deleted - numbers,
        )

    def without_items(self, item_nums: Iterable[int]) -> TitleIndex:
        """A copy that never returns these items."""
        return replace(self, deleted=self.deleted.union(int(number) for number in item_nums))

    def bearers(self, key: str) -> list[TitledItem]:
        """Items whose title has this normal form, most popular first."""
        built = self.built.bearers.get(key, ())
        items = [item for item in built if item.item_num not in self.changed]
        items.extend(self.posted.bearers.get(key, ()))
        alive = [item for item in items if item.item_num not in self.deleted]
        return sorted(alive, key=lambda item: (-item.popularity, item.item_num))

    def exact(self, text: str) -> IntArray:
        """Items with the title ``text``, best first.

        Exactly equal titles come first, then those with the same normal form, then those that have
        it as another name; by popularity within each group.
        """
        key = title_key(text)

        def group(item: TitledItem) -> tuple[bool, bool]:
            return item.title != text, title_key(item.title) != key

        items = self.bearers(key)
        ordered = sorted(items, key=group) if len(items) > 1 else items
        return np.asarray([item.item_num for item in ordered], dtype=np.int32)

    def nearest(self, key: str) -> list[str]:
        """Titles one edit from ``key`` (else two, if it is long), most popular first.

        Digits must agree: "Rocky 9" does not mean "Rocky 2". Short keys have no near titles, and
        two edits are not tried if ``key`` is a prefix of a title: it is unfinished, not wrong.
        """
        if len(key) < MIN_LENGTH_ONE_EDIT:
            return []
        near = self._near(key, 1)
        if near or len(key) < MIN_LENGTH_TWO_EDITS or self.completions(key, 1):
            return near
        return self._near(key, 2)

    def completions(self, prefix: str, k: int) -> list[TitledItem]:
        """Titles that contain a normalised prefix: at their beginning first, then at later words.

        Each item appears once; by popularity within a group. An empty prefix gives the most
        popular titles.
        """
        found: dict[int, TitledItem] = {}
        for inside in (False, True):
            if len(found) < k and (prefix or not inside):
                rows = [
                    table.with_word_starting(prefix) if inside else table.starting(prefix)
                    for table in self._tables
                ]
                for bearer in self._most_popular(rows, k + len(found)):
                    found.setdefault(bearer.item_num, bearer)
        return list(found.values())[:k]

    def near_completions(self, prefix: str, k: int) -> list[TitledItem]:
        """Completions of a prefix one edit from ``prefix``, most popular first."""
        if len(prefix) < MIN_LENGTH_ONE_EDIT:
            return []
        return self._most_popular([table.nearly_starting(prefix) for table in self._tables], k)

    @property
    def _tables(self) -> tuple[TitleTable, TitleTable]:
        return self.built, self.posted

    def _near(self, key: str, distance: int) -> list[str]:
        found = {near for table in self._tables for _, near in table.edits.near(key, distance)}
        alive = {near: self.bearers(near) for near in found if _digits(near) == _digits(key)}
        return sorted(
            (near for near, bearers in alive.items() if bearers),
            key=lambda near: (-alive[near][0].popularity, near),
        )

    def _most_popular(self, rows_by_table: Sequence[IntArray], k: int) -> list[TitledItem]:
        """The k most popular items of some rows of each table, without deleted ones."""
        found: dict[int, TitledItem] = {}
        wanted = 2 * k + len(self.deleted) + len(self.changed)
        for table, rows in zip(self._tables, rows_by_table, strict=True):
            if len(rows) > wanted:
                rows = rows[np.argpartition(-table.popularity[rows], wanted - 1)[:wanted]]
            for row in rows.tolist():
                for bearer in self.bearers(table.keys[row])[:1]:
                    found[bearer.item_num] = bearer
        return sorted(found.values(), key=lambda item: (-item.popularity, item.item_num))[:k]


def other_names(title: str) -> list[str]:
    """Alternative names of a title that ends in brackets: the part before, and each bracket."""
    named = _BRACKETS.findall(title)
    if not named or not title.rstrip().endswith(")"):
        return []
    return [_BRACKETS.sub("", title), *(_KNOWN_AS.sub("", name) for name in named)]


def _titled_items(
    item_nums: Sequence[int],
    items: Sequence[Item],
    popularity: FloatArray,
    keys: Sequence[str] | None,
) -> list[tuple[str, TitledItem]]:
    """(normal form, item) for the title of every item and its other names."""
    keys = [title_key(item.title) for item in items] if keys is None else keys
    pairs: list[tuple[str, TitledItem]] = []
    for number, key, item in zip(item_nums, keys, items, strict=True):
        weight = float(popularity[number]) if number < len(popularity) else 0.0
        bearer = TitledItem(int(number), item.title, weight)
        others = (title_key(name) for name in other_names(item.title))
        pairs.extend((name, bearer) for name in dict.fromkeys((key, *others)) if name)
    return pairs


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())
