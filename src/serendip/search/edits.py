"""Strings within one or two edits of a query, without looking at all of them.

An edit inserts, deletes or replaces a character or swaps two neighbours. One edit leaves the first
or the second half of the query untouched (a swap across the middle is tried by itself), so only
strings that share that half and have almost the same length are compared: two binary searches
per length instead of a scan. Two edits leave the first, the last or the middle third untouched;
the middle one is not looked up, so some pairs at distance two are missed - by choice, for speed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator

MAX_COMPARED = 20_000
_LAST = "\U0010ffff"


class EditIndex:
    """An immutable set of strings that can be asked for near ones."""

    __slots__ = ("_backward", "_forward", "_strings")

    def __init__(self, strings: Iterable[str]) -> None:
        self._strings = frozenset(strings)
        forward, backward = defaultdict(list), defaultdict(list)
        for string in self._strings:
            forward[len(string)].append(string)
            backward[len(string)].append(string[::-1])
        self._forward = {length: sorted(found) for length, found in forward.items()}
        self._backward = {length: sorted(found) for length, found in backward.items()}

    def __contains__(self, string: object) -> bool:
        return string in self._strings

    def near(self, query: str, distance: int) -> list[tuple[int, str]]:
        """(distance, string) of strings at 1 to ``distance`` (1 or 2) edits, nearest first.

        At most 20,000 strings are compared; in a larger catalogue a short query may miss some.
        """
        from rapidfuzz.distance import OSA

        candidates = set(self._swapped(query)) if distance == 1 else set()
        part = len(query) // (distance + 1)
        for candidate in self._sharing(query, part, distance):
            candidates.add(candidate)
            if len(candidates) >= MAX_COMPARED:
                break
        measured = (
            (OSA.distance(query, candidate, score_cutoff=distance), candidate)
            for candidate in candidates
        )
        return sorted(pair for pair in measured if 0 < pair[0] <= distance)

    def _swapped(self, query: str) -> Iterator[str]:
        """The string that differs by a swap across the middle, which spoils both halves."""
        middle = len(query) // 2
        if middle:
            left, right = query[middle - 1], query[middle]
            swapped = query[: middle - 1] + right + left + query[middle + 1 :]
            if swapped in self._strings:
                yield swapped

    def _sharing(self, query: str, part: int, distance: int) -> Iterator[str]:
        head = query[:part]
        tail = query[len(query) - part :] if distance > 1 else query[part:]
        for length in range(len(query) - distance, len(query) + distance + 1):
            yield from _starting(self._forward.get(length, []), head)
            for string in _starting(self._backward.get(length, []), tail[::-1]):
                yield string[::-1]


def _starting(ordered: list[str], prefix: str) -> list[str]:
    begin = bisect_left(ordered, prefix)
    return ordered[begin : bisect_left(ordered, prefix + _LAST, begin)]
