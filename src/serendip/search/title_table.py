"""An immutable set of titles, laid out for look-up by whole, by beginning and by word."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import IntArray
from serendip.search.edits import EditIndex

MAX_COMPARED = 5_000
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
    """Titles by normal form.

    Attributes:
        bearers: normal form -> items that bear it, most popular first.
        keys: the normal forms, sorted; a row is a position in here.
        popularity: (R,) of the most popular bearer of each row.
        edits: near look-ups among the normal forms.
    """

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
        begin, end = _range(self._words, first)
        if first != prefix:
            end = begin + (begin < len(self._words) and self._words[begin] == first)
        rows = np.unique(self._rows[self._starts[begin] : self._starts[end]])
        if first == prefix:
            return rows
        inside = f" {prefix}"
        return np.asarray([row for row in rows if inside in self.keys[row]], dtype=np.int32)

    def nearly_starting(self, prefix: str) -> IntArray:
        """Rows of titles that begin, or have a word that begins, one edit from ``prefix``.

        The first half of ``prefix`` must be right; at most 5,000 titles are compared.
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
    """Stretches of about ``length`` characters that begin with ``head`` at a word's beginning."""
    padded = f" {key}"
    at = padded.find(f" {head}")
    while at >= 0:
        for size in (length - 1, length, length + 1):
            yield padded[at + 1 : at + 1 + size]
        at = padded.find(f" {head}", at + 1)


def _postings(keys: Sequence[str]) -> tuple[list[str], IntArray, IntArray]:
    """Words in order, where the rows of each begin, and the rows: later words of every title."""
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
