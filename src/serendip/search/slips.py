"""How likely a word is typed as another one: which slips fingers make.

Probabilities are common logarithms, given that one slip happened in the word. They are rounded
guesses about typing: a neighbouring key, two letters swapped, one doubled, one left out; other
letters are rarer, and the first letter is more often right than the others.
"""

from __future__ import annotations

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


def likelihood(typed: str, meant: str, distance: int) -> float:
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
