"""Titles as wholes: which items bear exactly this one, which one was meant, how it goes on.

Titles are compared in their normal form (``analysis.title_key``). The built table and the table of
posted items are separate: posting rebuilds only the small one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.item import Item
from serendip.search.analysis import title_key
from serendip.search.edits import EditIndex

MIN_LENGTH_ONE_EDIT = 4
MIN_LENGTH_TWO_EDITS = 10
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Bearer:
    """One item that bears a title.

    Args:
        item_num: its number.
        title: as written.
        popularity: interactions, 0 or more.
    """

    item_num: int
    title: str
    popularity: float


class TitleTable:
    """An immutable set of titles, sorted for look-up by beginning and by word."""

    __slots__ = ("_rows", "_starts", "_words", "bearers", "edits", "keys", "popularity")

    def __init__(self, bearers: Iterable[tuple[str, Bearer]]) -> None:
        grouped: dict[str, list[Bearer]] = defaultdict(list)
        for key, bearer in bearers:
            grouped[key].append(bearer)
        self.bearers: Mapping[str, tuple[Bearer, ...]] = {
            key: tuple(sorted(found, key=lambda bearer: (-bearer.popularity, bearer.item_num)))
            for key, found in grouped.items()
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
        """Rows of titles with ``prefix`` at the beginning of a later word."""
        first = prefix.partition(" ")[0]
        if first == prefix:
            begin, end = _range(self._words, prefix)
        else:
            begin, end = _range(self._words, first, whole=True)
        rows = np.unique(self._rows[self._starts[begin] : self._starts[end]])
        inside = f" {prefix}"
        kept = rows if first == prefix else [row for row in rows if inside in self.keys[row]]
        return np.asarray(kept, dtype=np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class TitleIndex:
    """Titles of a catalogue, of items posted since, without those deleted.

    Args:
        built: titles of the catalogue.
        posted: titles posted later.
        deleted: item numbers that are never answered.
    """

    built: TitleTable
    posted: TitleTable
    deleted: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls, items: Sequence[Item], popularity: FloatArray, keys: Sequence[str] | None = None
    ) -> TitleIndex:
        """Index the titles of items numbered from 0.

        Args:
            items: those without a title are left out.
            popularity: (N,) interactions per item; orders equal titles and completions.
            keys: ``title_key`` of every item where it is known already.
        """
        return cls(TitleTable(_bearers(items, 0, popularity, keys)), TitleTable(()))

    def with_items(self, items: Sequence[Item], first_number: int) -> TitleIndex:
        """A copy with new items, numbered from ``first_number`` on, of popularity 0."""
        old = ((key, bearer) for key, found in self.posted.bearers.items() for bearer in found)
        new = _bearers(items, first_number, np.zeros(len(items), dtype=np.float32), None)
        return replace(self, posted=TitleTable((*old, *new)))

    def without_items(self, item_nums: Iterable[int]) -> TitleIndex:
        """A copy that never answers these items."""
        return replace(self, deleted=self.deleted.union(int(number) for number in item_nums))

    def bearers(self, key: str) -> list[Bearer]:
        """Items whose title has this normal form, most popular first."""
        found = (*self.built.bearers.get(key, ()), *self.posted.bearers.get(key, ()))
        alive = [bearer for bearer in found if bearer.item_num not in self.deleted]
        return sorted(alive, key=lambda bearer: (-bearer.popularity, bearer.item_num))

    def exact(self, text: str) -> IntArray:
        """Items that bear the title ``text``: those written just so first, then by popularity."""
        found = self.bearers(title_key(text))
        ordered = sorted(found, key=lambda bearer: bearer.title != text)
        return np.asarray([bearer.item_num for bearer in ordered], dtype=np.int32)

    def nearest(self, key: str) -> list[str]:
        """Titles one edit from ``key`` (else two, where it is long), most popular first.

        Digits must agree: "Rocky 9" does not mean "Rocky 2". Short keys have no near titles.
        """
        allowed = (len(key) >= MIN_LENGTH_ONE_EDIT) + (len(key) >= MIN_LENGTH_TWO_EDITS)
        for distance in range(1, allowed + 1):
            pairs = {
                pair
                for table in (self.built, self.posted)
                for pair in table.edits.near(key, distance)
            }
            alive = [
                (-self.bearers(near)[0].popularity, near)
                for _, near in pairs
                if _digits(near) == _digits(key) and self.bearers(near)
            ]
            if alive:
                return [near for _, near in sorted(alive)]
        return []

    def completions(self, prefix: str, k: int) -> list[Bearer]:
        """Titles that go on from a normalised prefix: at their beginning first, then inside.

        Each title comes once, borne by its most popular living item; by popularity within a group.
        An empty prefix gives the most popular titles.
        """
        found: dict[str, Bearer] = {}
        for inside in (False, True):
            if len(found) >= k or (inside and not prefix):
                break
            group: dict[str, Bearer] = {}
            for table in (self.built, self.posted):
                rows = table.with_word_starting(prefix) if inside else table.starting(prefix)
                self._collect(group, table, rows, k + len(found))
            ranked = sorted(group.items(), key=lambda pair: (-pair[1].popularity, pair[0]))
            for key, bearer in ranked:
                found.setdefault(key, bearer)
        return list(found.values())[:k]

    def _collect(self, group: dict[str, Bearer], table: TitleTable, rows: IntArray, k: int) -> None:
        """Add the k most popular living titles of some rows to ``group``."""
        wanted = k + len(self.deleted)
        if len(rows) > wanted:
            rows = rows[np.argpartition(-table.popularity[rows], wanted - 1)[:wanted]]
        for row in rows.tolist():
            key = table.keys[row]
            alive = self.bearers(key)
            if alive:
                group[key] = alive[0]


def _bearers(
    items: Sequence[Item], first_number: int, popularity: FloatArray, keys: Sequence[str] | None
) -> list[tuple[str, Bearer]]:
    keys = [title_key(item.title) for item in items] if keys is None else keys
    return [
        (key, Bearer(first_number + row, item.title, float(popularity[row])))
        for row, (key, item) in enumerate(zip(keys, items, strict=True))
        if key
    ]


def _postings(keys: Sequence[str]) -> tuple[list[str], IntArray, IntArray]:
    """Words in order, where the rows of each begin, and the rows: later words of every title."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        for word in key.split(" ")[1:]:
            rows[word].append(row)
    ordered = sorted(rows)
    counts = [len(rows[word]) for word in ordered]
    starts = np.cumsum([0, *counts]).astype(np.int32)
    flat = [row for word in ordered for row in rows[word]]
    return ordered, starts, np.asarray(flat, dtype=np.int32)


def _range(ordered: Sequence[str], prefix: str, whole: bool = False) -> tuple[int, int]:
    begin = bisect_left(ordered, prefix)
    if whole:
        return begin, begin + (begin < len(ordered) and ordered[begin] == prefix)
    return begin, bisect_left(ordered, prefix + _LAST, begin)


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())
