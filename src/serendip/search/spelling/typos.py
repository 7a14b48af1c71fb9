"""Typo model, log P(typed | meant), and an index of strings by edit distance.

``log_typo_probability`` gives common logarithms, conditional on one typo in the word. They are
rounded guesses about typing: a neighbouring key, two letters swapped, one doubled, one omitted;
other letters are rarer, and the first letter is more often right than the others.

``EditIndex`` finds strings within one or two edits of a query without comparing all of them. An
edit inserts, deletes or replaces a character or swaps two neighbours. One edit leaves the first or
the second half of the query intact (a swap across the middle is tried separately), so only strings
that share that half and have almost the same length are compared. Two edits leave the first, the
last or the middle third intact; the middle third is not looked up, so some pairs at distance two
are missed, by choice, for speed.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from math import log10
from typing import Self

import numpy as np

from serendip.data import Artefact, IntArray, Strings
from serendip.data.text import rows_starting

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_VOWELS = frozenset("aeiouy")

SWAPPED, DOUBLED, LEFT_OUT, NEXT_KEY, ADDED, OTHER = 0.2, 0.15, 0.25, 0.2, 0.1, 0.1
"""Shares of the kinds of typos."""

FIRST_LETTER = 0.5
"""Weight of a typo in the first letter, relative to any other position."""

PREFIXES = frozenset("aei")
PREFIXED = 0.05
"""Weight of one of these letters added in front, which often makes another word: ``asocial``."""

TWO_SLIPS = -6.0
"""log10 probability of any two typos."""


HANGUL = "hangul"

_JAMO = (
    "".join(map(chr, (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A8, 0x11C3)))),
    "r R s e E f a q Q t T d w W c z x v g "
    "k o i O j p u P h hk ho hl y n nj np nl b m ml l "
    "r R rt s sw sg e f fr fa fq ft fx fv fg a q qt t T d w c z x v g",
)
_KEY_OF_JAMO = dict(zip(map(ord, _JAMO[0]), _JAMO[1].lower().split(), strict=True))
"""Letter of Hangul -> its keys in the usual Korean layout, as letters of qwerty."""

_SYLLABLES = re.compile("[가-힣]+")


def is_hangul(word: str) -> bool:
    """Whether a word is of Hangul syllables."""
    return _SYLLABLES.fullmatch(word) is not None


def spell_out(word: str) -> str:
    """A word letter by letter: Hangul syllables as their letters (jamo)."""
    return unicodedata.normalize("NFD", word)


def keys_of(word: str) -> str:
    """The keys by which a word is typed; those of Hangul in the Korean layout."""
    return spell_out(word).translate(_KEY_OF_JAMO)


def log_typo_probability(typed: str, meant: str, distance: int) -> float:
    """log10 P(``typed`` | ``meant``, a typo) of the keys of two words, 1 or 2 edits apart."""
    if distance > 1:
        return TWO_SLIPS
    start, wrong, right = _difference(typed, meant)
    share = _share(typed, start, wrong, right)
    weight = 1.0 if start else FIRST_LETTER
    if not start and not right and wrong in PREFIXES:
        weight = PREFIXED
    return log10(share * weight / len(meant))


def _share(typed: str, start: int, wrong: str, right: str) -> float:
    """Probability of exactly this typo among all typos at this position."""
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
    from rapidfuzz.distance import Postfix, Prefix

    start = Prefix.similarity(typed, meant)
    wrong, right = typed[start:], meant[start:]
    same = Postfix.similarity(wrong, right)
    return start, wrong[: len(wrong) - same], right[: len(right) - same]


@cache
def _near_keys() -> dict[str, str]:
    places = {
        letter: (column + row / 2, row)
        for row, letters in enumerate(_ROWS)
        for column, letter in enumerate(letters)
    }

    def are_beside(one: str, other: str) -> bool:
        (column, row), (other_column, other_row) = places[one], places[other]
        return one != other and abs(column - other_column) <= 1 and abs(row - other_row) <= 1

    return {
        letter: "".join(other for other in places if are_beside(letter, other)) for letter in places
    }


MAX_COMPARED = 20_000
_MOST_BYTES = 4  # of a letter, by which strings an edit away are longer or shorter


@dataclass(frozen=True, slots=True, eq=False)
class EditIndex(Artefact):
    """An immutable set of strings with look-up by edit distance.

    Args:
        strings: distinct, ascending; R of them.
        backward: (R,) int32 rows in the order of the reversed strings.
    """

    strings: Strings
    backward: IntArray

    @classmethod
    def of(cls, strings: Iterable[str]) -> Self:
        """Build from strings."""
        ordered = sorted(set(strings))
        backward = sorted(range(len(ordered)), key=lambda row: ordered[row][::-1])
        return cls(Strings.of(ordered), np.array(backward, np.int32))

    def near(self, query: str, distance: int) -> list[tuple[int, str]]:
        """(distance, string) of strings at 1 to ``distance`` (1 or 2) edits, nearest first.

        Compares at most 20,000 strings; in a large catalogue a short query may miss some.
        """
        from rapidfuzz.distance import OSA

        strings, part = self.strings, len(query) // (distance + 1)
        tail = query[len(query) - part :] if distance > 1 else query[part:]
        heads = rows_starting(strings, query[:part])
        tails = rows_starting(self.backward.data, tail[::-1], lambda row: strings[row][::-1])
        rows = np.append(np.arange(heads.start, heads.stop), self.backward[tails])
        longer = strings.starts[rows + 1] - strings.starts[rows] - len(query.encode())
        rows = rows[np.abs(longer) <= _MOST_BYTES * distance][:MAX_COMPARED]
        candidates = {*strings.take(rows.tolist()), *self._swap_middle(query)}
        measured = (
            (OSA.distance(query, candidate, score_cutoff=distance), candidate)
            for candidate in candidates
        )
        return sorted(pair for pair in measured if 0 < pair[0] <= distance)

    def _swap_middle(self, query: str) -> Iterator[str]:
        """The string that differs by a swap across the middle, which changes both halves."""
        middle = len(query) // 2
        swapped = f"{query[: middle - 1]}{query[middle : middle + 1]}{query[middle - 1 : middle]}"
        swapped += query[middle + 1 :]
        row = bisect_left(self.strings, swapped)
        if middle and row < len(self.strings) and self.strings[row] == swapped:
            yield swapped
