"""Title index: look-up of items by exact title, near title (edit distance) and prefix.

Titles are compared in their normal form (``data.text.title_key``). A title with names in brackets,
"The Postman (Il Postino)", is also found without them and by each of them, one with an article
without it, and one that ends in a number in either notation: "Rocky 2" is "Rocky II".

``TitleTable`` is an immutable set of titles as arrays, sorted for look-up by whole title, by prefix
and by word; that of the catalogue is memory-mapped. ``TitleIndex`` joins it with tables of late
items: a new one is merged with those that are not far larger.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Self, TypeAlias

import numpy as np
from pyroaring import BitMap

from serendip.data import FloatArray, IntArray, Item
from serendip.data.artefact import Artefact
from serendip.data.rows.strings import Strings
from serendip.data.text import fold, rows_starting, strip_article, title_key
from serendip.search.spelling.typos import EditIndex, contains
from serendip.search.synonyms import with_other_numeral
from serendip.search.word_starts import WordStarts

MAX_COMPARED = 5_000
_TIMES_LARGER = 8
"""A table of late titles is merged with a newer one unless it is so many times larger."""


Popularity: TypeAlias = FloatArray | IntArray


@dataclass(frozen=True, slots=True, eq=False)
class TitleTable(Artefact):
    """Titles of items by normal form.

    Args:
        keys: R distinct normal forms, ascending; a row is an index into them.
        starts: (R + 1,) int32 offsets of the rows' items.
        items: (E,) int32 items with each title, most popular first.
        popularity: (R,) float32 of the most popular item of each row.
    """

    keys: Strings
    starts: IntArray
    items: IntArray
    popularity: FloatArray
    word_starts: WordStarts
    edits: EditIndex

    @classmethod
    def of(cls, titled: Iterable[tuple[str, int, float]]) -> Self:
        """Build from (normal form, item, popularity of the item)."""
        ordered = sorted(set(titled), key=lambda entry: (entry[0], -entry[2], entry[1]))
        groups = [(key, list(entries)) for key, entries in groupby(ordered, lambda entry: entry[0])]
        keys = [key for key, _ in groups]
        distinct = Strings.of(keys)
        return cls(
            distinct,
            np.cumsum([0, *(len(entries) for _, entries in groups)]).astype(np.int32),
            np.array([item for _, item, _ in ordered], np.int32),
            np.array([entries[0][2] for _, entries in groups], np.float32),
            WordStarts.of(distinct),
            replace(EditIndex.of(keys), strings=distinct),
        )

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and contains(self.keys, key)

    def items_of(self, row: int) -> list[int]:
        """Items with the title of a row, most popular first."""
        found: list[int] = self.items[self.starts[row] : self.starts[row + 1]].tolist()
        return found

    def items_titled(self, key: str) -> list[int]:
        """Items whose title has a normal form, most popular first."""
        row = bisect_left(self.keys, key)
        return self.items_of(row) if row < len(self.keys) and self.keys[row] == key else []

    def starting(self, prefix: str) -> IntArray:
        """Rows of titles that begin with ``prefix``."""
        found = rows_starting(self.keys, prefix)
        return np.arange(found.start, found.stop, dtype=np.int32)

    def with_word_starting(self, prefix: str) -> IntArray:
        """Rows of titles in which ``prefix`` begins at a later word."""
        rows, offsets = self.word_starts.starting(prefix)
        return np.unique(rows[offsets > 0])

    def nearly_starting(self, prefix: str) -> IntArray:
        """Rows of titles with a prefix, from any word on, at most one edit from ``prefix``.

        The first half of ``prefix`` must match exactly; compares at most 5,000 starts of words.
        """
        from rapidfuzz.distance import OSA

        head, length = prefix[: len(prefix) // 2], len(prefix)
        rows, offsets = self.word_starts.starting(head)
        first = np.argsort(rows, kind="stable")[: MAX_COMPARED if head else 0]
        near = {
            row
            for row, at in zip(rows[first].tolist(), offsets[first].tolist(), strict=True)
            for size in (length - 1, length, length + 1)
            if OSA.distance(prefix, self.keys[row][at : at + size], score_cutoff=1) <= 1
        }
        return np.array(sorted(near), np.int32)


MIN_LENGTH_ONE_EDIT = 4
MIN_LENGTH_TWO_EDITS = 10

_SPARE = 64
"""Titles looked at in place of those of deleted and late items."""

_BRACKETS = re.compile(r"\(([^()]*)\)")
_KNOWN_AS = re.compile(r"^\s*a\.?k\.?a\.?\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class TitleIndex:
    """Titles of a catalogue and of late items, without deleted ones.

    Args:
        popularity: (N,) interactions per built item; new ones have none.
        titles: (N,) titles of built items as written.
        rows: (N,) int32 row of each built item's title in ``built``; -1 = it has none.
        late: late item -> its title as written.
        tables: of late titles, the largest first; a title that an item no longer has is left out
            of every answer.
    """

    popularity: Popularity
    titles: Strings
    rows: IntArray
    built: TitleTable
    late: Mapping[int, str] = field(default_factory=dict)
    tables: tuple[TitleTable, ...] = ()
    deleted: BitMap = field(default_factory=BitMap)

    @classmethod
    def of(cls, items: Iterable[Item], popularity: Popularity) -> Self:
        """Index the titles of items numbered from 0; those without a title are skipped.

        Popularity, (N,) interactions per item, orders equal titles and completions.
        """
        titles = Strings.of(item.title for item in items)
        table = TitleTable.of(
            (name, number, float(popularity[number]))
            for number, title in enumerate(titles)
            for name in _names(title)
        )
        row_of = {key: row for row, key in enumerate(table.keys)}
        rows = [row_of.get(title_key(title), -1) for title in titles]
        return cls(popularity, titles, np.array(rows, np.int32), table)

    def with_late(self, titles: Mapping[int, str]) -> Self:
        """A copy in which these items have other titles; restores deleted ones."""
        kept, items = list(self.tables), [*titles]
        while kept and len(kept[-1]) < _TIMES_LARGER * len(items):
            items += kept.pop().items.tolist()
        late = {**self.late, **titles}
        table = TitleTable.of(
            (name, item, self.popularity_of(item))
            for item in {*items}
            for name in _names(late[item])
        )
        deleted = self.deleted - BitMap(titles)
        return replace(self, late=late, tables=(*kept, table), deleted=deleted)

    def without_items(self, item_nums: Iterable[int]) -> Self:
        """A copy that never returns these items."""
        return replace(self, deleted=self.deleted | BitMap(int(number) for number in item_nums))

    def popularity_of(self, item: int) -> float:
        """Interactions of an item; 0 for a new one."""
        return float(self.popularity[item]) if item < len(self.popularity) else 0.0

    def title(self, item: int) -> str:
        """Title of an item as written."""
        return self.late[item] if item in self.late else self.titles[item]

    def key(self, item: int) -> str:
        """Normal form of an item's title; empty for one without a title."""
        if item in self.late:
            return title_key(self.late[item])
        row = int(self.rows[item])
        return self.built.keys[row] if row >= 0 else ""

    def __contains__(self, key: object) -> bool:
        return key in self.built

    def bearers(self, key: str) -> list[int]:
        """Items whose title has this normal form, most popular first."""
        return self._bearers(key, (table.items_titled(key) for table in self._tables))

    def _bearers(self, key: str, items_of_tables: Iterable[list[int]]) -> list[int]:
        late, items = self.late, dict.fromkeys(item for items in items_of_tables for item in items)
        alive = [
            item
            for item in items
            if item not in self.deleted and (item not in late or key in _names(late[item]))
        ]
        return sorted(alive, key=self._rank) if len(alive) > 1 else alive

    def _rank(self, item: int) -> tuple[float, int]:
        return -self.popularity_of(item), item

    def exact(self, text: str) -> IntArray:
        """Items with the title ``text``, best first.

        Titles equal but for case, accents, width and spaces come first, then those with the same
        normal form, then those that have it as another name; by popularity within each group.
        """
        key, folded = title_key(text), fold(text)

        def group(item: int) -> tuple[bool, bool]:
            return fold(self.title(item)) != folded, self.key(item) != key

        return np.asarray(sorted(self.bearers(key), key=group), dtype=np.int32)

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

    def completions(self, prefix: str, k: int) -> list[int]:
        """Items whose title has a normalised prefix: at its beginning first, then at later words.

        Each item appears once; by popularity within a group. An empty prefix gives the items of the
        most popular titles.
        """
        found: dict[int, None] = {}
        for inside in (False, True):
            if len(found) < k and (prefix or not inside):
                rows = [
                    table.with_word_starting(prefix) if inside else table.starting(prefix)
                    for table in self._tables
                ]
                found |= dict.fromkeys(self._most_popular(rows, k + len(found)))
        return list(found)[:k]

    def near_completions(self, prefix: str, k: int) -> list[int]:
        """Completions of a prefix one edit from ``prefix``, most popular first."""
        if len(prefix) < MIN_LENGTH_ONE_EDIT:
            return []
        rows = [table.nearly_starting(prefix) for table in self._tables]
        return self._most_popular(rows, k)

    @property
    def _tables(self) -> tuple[TitleTable, ...]:
        return (self.built, *self.tables)

    def _near(self, key: str, distance: int) -> list[str]:
        found = {near for table in self._tables for _, near in table.edits.near(key, distance)}
        alive = {near: self.bearers(near) for near in found if _digits(near) == _digits(key)}
        return sorted(
            (near for near, bearers in alive.items() if bearers),
            key=lambda near: (-self.popularity_of(alive[near][0]), near),
        )

    def _most_popular(self, rows_by_table: Sequence[IntArray], k: int) -> list[int]:
        found: set[int] = set()
        for table, rows in zip(self._tables, rows_by_table, strict=True):
            found.update(self._bearers_of_best(table, rows, k))
        return sorted(found, key=self._rank)[:k]

    def _bearers_of_best(self, table: TitleTable, rows: IntArray, k: int) -> list[int]:
        """The best item of each of the most popular rows: k different ones, or all there are."""
        wanted = 2 * k + min(len(self.deleted) + len(self.late), _SPARE)
        while True:
            best = rows
            if len(rows) > wanted:
                best = rows[np.argpartition(-table.popularity[rows], wanted - 1)[:wanted]]
            bearers = [bearer for row in best.tolist() for bearer in self._bearers_of(table, row)]
            if len(best) == len(rows) or len(set(bearers)) >= k:
                return bearers
            wanted *= 4

    def _bearers_of(self, table: TitleTable, row: int) -> list[int]:
        """The most popular item of a row that is there; none if all are gone."""
        if not self.late:  # Then there is no other table, and a row is in this order.
            alive = (item for item in table.items_of(row) if item not in self.deleted)
            return list(islice(alive, 1))
        key = table.keys[row]
        items = (
            table.items_of(row) if one is table else one.items_titled(key) for one in self._tables
        )
        return self._bearers(key, items)[:1]


def other_names(title: str) -> list[str]:
    """Alternative names of a title: without its article; of one that ends in brackets the part
    before, and each bracket but numbers, such as years.
    """
    named = _BRACKETS.findall(title) if title.rstrip().endswith(")") else []
    whole = _BRACKETS.sub("", title) if named else title
    aside = [_KNOWN_AS.sub("", name) for name in named if not name.strip().isdigit()]
    return [name for name in (*([whole] if named else []), *aside, strip_article(whole)) if name]


def _names(title: str) -> dict[str, None]:
    """Normal forms under which a title is found: its own, and those of its other names."""
    names = [*map(title_key, (title, *other_names(title)))]
    return {name: None for name in (*names, *map(with_other_numeral, names)) if name}


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())
