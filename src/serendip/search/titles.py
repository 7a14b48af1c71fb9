"""Title index: look-up of items by exact title, near title (edit distance) and prefix.

Titles are compared in their normal form (``data.text.title_key``). A title with names in brackets,
"The Postman (Il Postino)", is also found without them and by each of them, one with an article
without it, and one that ends in a number in either notation: "Rocky 2" is "Rocky II".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from serendip.data import IntArray, Item, Strings, fold, title_key
from serendip.data.arrays import first_rows
from serendip.data.text import strip_article
from serendip.search.names import MAX_COMPARED, Merits, Names
from serendip.search.synonyms import with_other_numeral

MIN_LENGTH_ONE_EDIT = 4
MIN_LENGTH_TWO_EDITS = 10
_SPARE = 64  # titles looked at in place of those of deleted and late items
_BRACKETS = re.compile(r"\(([^()]*)\)")
_KNOWN_AS = re.compile(r"^\s*a\.?k\.?a\.?\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class TitleIndex:
    """Titles of a catalogue and of late items, without deleted ones.

    Args:
        popularity: (N,) interactions per built item; new ones have none.
        titles: (N,) titles of built items as written.
        rows: (N,) int32 row of each built item's title in ``names``; -1 = it has none.
        late: late item -> its title as written.
    """

    popularity: Merits
    titles: Strings
    rows: IntArray
    names: Names
    late: Mapping[int, str] = field(default_factory=dict)
    deleted: BitMap = field(default_factory=BitMap)

    @classmethod
    def of(cls, items: Iterable[Item], popularity: Merits) -> Self:
        """Index the titles of items numbered from 0; those without a title are skipped.

        Popularity, (N,) interactions per item, orders equal titles and completions.
        """
        titles = Strings.of(item.title for item in items)
        names = Names.build(map(_names, titles), popularity)
        rows = [names.index.find(title_key(title)) for title in titles]
        return cls(popularity, titles, np.array(rows, np.int32), names)

    def with_late(self, titles: Mapping[int, str]) -> Self:
        """A copy in which these items have other titles."""
        names = self.names.with_late({item: _names(title) for item, title in titles.items()})
        return replace(self, names=names, late={**self.late, **titles})

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
        return self.names.index.strings[row] if row >= 0 else ""

    def __contains__(self, key: object) -> bool:
        return key in self.names

    def bearers(self, key: str) -> list[int]:
        """Items whose title has this normal form, most popular first."""
        alive = [item for item in self.names.items_of(key) if item not in self.deleted]
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
        """Titles of several words one edit from ``key`` (else two, if it is long), most popular
        first; see ``Names.near``.

        Digits must agree: "Rocky 9" does not mean "Rocky 2". Short keys have no near titles, and
        two edits are not tried if ``key`` is a prefix of a title: it is unfinished, not wrong.
        """
        from rapidfuzz.distance import OSA

        if len(key) < MIN_LENGTH_ONE_EDIT or " " not in key:
            return []
        distances = {name: OSA.distance(key, name, score_cutoff=2) for name in self.names.near(key)}
        alive = {
            name: bearers[0]
            for name, distance in distances.items()
            if 0 < distance <= 2 and " " in name and _digits(name) == _digits(key)
            if (bearers := self.bearers(name))
        }
        near = [name for name in alive if distances[name] == 1]
        is_tried = len(key) >= MIN_LENGTH_TWO_EDITS and not self.completions(key, 1)
        near = near or [name for name in alive if is_tried]
        return sorted(near, key=lambda name: (-self.popularity_of(alive[name]), name))

    def completions(self, prefix: str, k: int) -> list[int]:
        """Items whose title has a normalised prefix: at its beginning first, then at later words.

        Each item appears once; by popularity within a group. An empty prefix gives the items of the
        most popular titles.
        """
        found: dict[int, None] = {}
        rows, offsets = self.names.word_starts.starting(prefix)
        late = self.names.late.starting(prefix)
        for is_later in (False, True):
            if len(found) < k and (prefix or not is_later):
                names = [name for at, name in late if (at > 0) == is_later]
                chosen = rows[(offsets > 0) == is_later]
                found |= dict.fromkeys(self._most_popular(chosen, names, k + len(found)))
        return list(found)[:k]

    def near_completions(self, prefix: str, k: int) -> list[int]:
        """Completions of a prefix one edit from ``prefix``, most popular first.

        The first half of ``prefix`` must match exactly; compares at most 5,000 starts of words.
        """
        from rapidfuzz.distance import OSA

        if len(prefix) < MIN_LENGTH_ONE_EDIT:
            return []
        names, head, sizes = self.names, prefix[: len(prefix) // 2], range(-1, 2)

        def is_near(name: str, at: int) -> bool:
            starts = (name[at : at + len(prefix) + size] for size in sizes)
            return any(OSA.distance(prefix, start, score_cutoff=1) <= 1 for start in starts)

        rows, offsets = (part[:MAX_COMPARED] for part in names.word_starts.starting(head))
        begun = zip(names.index.strings.take(rows.tolist()), offsets.tolist(), strict=True)
        near = np.fromiter((is_near(*start) for start in begun), np.bool_, len(rows))
        late = [name for at, name in names.late.starting(head) if is_near(name, at)]
        return self._most_popular(rows[near], late, k)

    def _most_popular(self, rows: NDArray[np.integer], late: Sequence[str], k: int) -> list[int]:
        """The most popular bearer of each of some names: k different ones, or all there are."""
        most, names = 2 * k + min(len(self.deleted) + len(self.late), _SPARE), self.names
        rows = np.unique(rows)
        while True:
            best = rows
            if len(rows) > most:
                best = rows[first_rows(most, names.first_ranks(rows))]
            if self.late:
                both = {*names.index.strings.take(best.tolist()), *late}
                bearers = [self.bearers(name) for name in both]
            else:
                bearers = [
                    [item for item in names.items_at(row) if item not in self.deleted]
                    for row in best.tolist()
                ]
            found = {items[0] for items in bearers if items}
            if len(best) == len(rows) or len(found) >= k:
                return sorted(found, key=self._rank)[:k]
            most *= 4


def other_names(title: str) -> list[str]:
    """Alternative names of a title: without its article; of one that ends in brackets the part
    before, and each bracket but numbers, such as years.
    """
    named = _BRACKETS.findall(title) if title.rstrip().endswith(")") else []
    whole = _BRACKETS.sub("", title) if named else title
    aside = [_KNOWN_AS.sub("", name) for name in named if not name.strip().isdigit()]
    return [name for name in (*([whole] if named else []), *aside, strip_article(whole)) if name]


def _names(title: str) -> dict[str, str]:
    """Normal forms under which a title is found: its own, and those of its other names."""
    names = [*map(title_key, (title, *other_names(title)))]
    return {name: name for name in (*names, *map(with_other_numeral, names)) if name}


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())
