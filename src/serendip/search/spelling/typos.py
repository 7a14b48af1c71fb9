"""How likely a word is typed as another one: which slips fingers make.

Probabilities are common logarithms, given that one slip happened in the word. They are rounded
guesses about typing: a neighbouring key, two letters swapped, one doubled, one left out; other
letters are rarer, and the first letter is more often right than the others.

Strings within one or two edits of a query, without looking at all of them.

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
from functools import cache
from math import log10

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_VOWELS = frozenset("aeiouy")

SWAPPED, DOUBLED, LEFT_OUT, NEXT_KEY, ADDED, OTHER = 0.2, 0.15, 0.25, 0.2, 0.1, 0.1
"""Shares of the kinds of slips."""

FIRST_LETTER = 0.5
"""Slips in the first letter, against those at any other place."""

PREFIXES = frozenset("aei")
PREFIXED = 0.05
"""The same for one of these too many before all others, which makes another word: ``asocial``."""

TWO_SLIPS = -6.0
"""Of two slips, whatever they are."""


def log_typo_probability(typed: str, meant: str, distance: int) -> float:
    """log10 P(``typed`` | ``meant``, a slip).

    Args:
        typed: what was typed.
        meant: another word.
        distance: edits between them: 1 or 2.
    """
    if distance > 1:
        return TWO_SLIPS
    start, wrong, right = _difference(typed, meant)
    share = _share(typed, start, wrong, right)
    place = 1.0 if start else FIRST_LETTER
    if not start and not right and wrong in PREFIXES:
        place = PREFIXED
    return log10(share * place / len(meant))


def _share(typed: str, start: int, wrong: str, right: str) -> float:
    """Share of slips of this kind that give just these letters."""
    if len(wrong) == len(right) == 2:
        return SWAPPED
    if not wrong:
        return LEFT_OUT
    around = typed[max(start - 1, 0) : start] + typed[start + 1 : start + 2]
    if not right:
        return DOUBLED if wrong in around else ADDED / 25
    if right in _near_keys().get(wrong, ""):
        return NEXT_KEY / len(_near_keys()[right])
    return OTHER / (5 if wrong in _VOWELS and right in _VOWELS else 25)


def _difference(typed: str, meant: str) -> tuple[int, str, str]:
    """Where two words begin to differ, and the letters that differ."""
    start = 0
    shorter = min(len(typed), len(meant))
    while start < shorter and typed[start] == meant[start]:
        start += 1
    end = 0
    while end < shorter - start and typed[-1 - end] == meant[-1 - end]:
        end += 1
    return start, typed[start : len(typed) - end], meant[start : len(meant) - end]


@cache
def _near_keys() -> dict[str, str]:
    """Letter -> letters whose keys touch its own."""
    places = {
        letter: (column + row / 2, row)
        for row, letters in enumerate(_ROWS)
        for column, letter in enumerate(letters)
    }
    return {
        one: "".join(
            other
            for other, (x, y) in places.items()
            if other != one and abs(x - places[one][0]) <= 1 and abs(y - places[one][1]) <= 1
        )
        for one in places
    }


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
