"""Slips of the finger, one per query, as a benchmark makes them: letter by letter, by a seed.

A word of four letters or more is drawn, then a place in it. Nothing of how a speller weighs slips
is read here: all places are alike, and a letter that is put in may be any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

from serendip.errors import ConfigError

MIN_LETTERS = 4

_WORD = re.compile(f"[a-zA-Z]{{{MIN_LETTERS},}}")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_TRIES = 20


def _neighbour(word: str, at: int, random: Random) -> str:
    return word[:at] + random.choice(_beside(word[at].lower())) + word[at + 1 :]


def _swapped(word: str, at: int, random: Random) -> str:
    return word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]


def _left_out(word: str, at: int, random: Random) -> str:
    return word[:at] + word[at + 1 :]


def _put_in(word: str, at: int, random: Random) -> str:
    return word[:at] + random.choice(_LETTERS) + word[at:]


def _doubled(word: str, at: int, random: Random) -> str:
    return word[:at] + word[at] + word[at:]


KINDS: Mapping[str, Callable[[str, int, Random], str]] = {
    "neighbour": _neighbour,
    "transposition": _swapped,
    "deletion": _left_out,
    "insertion": _put_in,
    "doubling": _doubled,
}
"""Name -> (word, place, chance) -> the word with a slip."""


def misspelt(text: str, kind: str, seed: int) -> str | None:
    """A text with one slip; None where no word is long enough, or all letters are one.

    Args:
        text: as it was typed.
        kind: one of ``KINDS``.
        seed: the same text, kind and seed give the same slip.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"slip {kind!r}.", f"Known: {', '.join(KINDS)}.")
    random = Random(f"{seed} {kind} {text}")
    words = list(_WORD.finditer(text))
    for _ in range(_TRIES if words else 0):
        word = random.choice(words)
        slip = KINDS[kind](word.group(), random.randrange(len(word.group())), random)
        if slip.lower() != word.group().lower():
            return text[: word.start()] + slip + text[word.end() :]
    return None


def _beside(letter: str) -> str:
    """Letters whose keys touch this one's: left, right, and two above and below."""
    row = next(number for number, keys in enumerate(_KEYS) if letter in keys)
    at = _KEYS[row].index(letter)
    steps = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    places = [(row + down, at + right) for down, right in steps]
    return "".join(
        _KEYS[other][place]
        for other, place in places
        if 0 <= other < len(_KEYS) and 0 <= place < len(_KEYS[other])
    )
