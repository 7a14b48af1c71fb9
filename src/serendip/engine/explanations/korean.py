"""Particles of Korean sentences, which depend on how the word before them ends.

A word that ends in a consonant takes 을, 은, 이, 과, one that ends in a vowel 를, 는, 가, 와;
before (으)로 an ending in ㄹ counts as a vowel. For Hangul the ending is part of the code point.
Digits end as they are read (3 = 삼). Latin words end as their last letters are usually
transcribed, which is a guess: ``Matrix`` = 매트릭스, ``Film`` = 필름. After a word that nothing is
known of, both forms are written, 을(를), as Korean forms do. A bracket at the end is not read: the
particle belongs to the word before it.
"""

from __future__ import annotations

import re

_FIRST_SYLLABLE, _LAST_SYLLABLE = "가", "힣"
_ENDINGS = 28
"""Endings of a syllable; 0 = none, a vowel."""
_L = 8
"""Number of the ending ㄹ."""

_DIGITS = {"0": "영", "1": "일", "2": "이", "3": "삼", "4": "사", "5": "오", "6": "육", "7": "칠",
           "8": "팔", "9": "구"}  # fmt: skip

_LATIN = (
    (re.compile(r"(?i)(ng|me?|ne?)$"), 1),
    (re.compile(r"(?i)l(e)?$"), _L),
    (re.compile(r"(?i)[aeiou](b|c|ck|k|p|t)$"), 1),
    (re.compile(r"(?i)[a-z]$"), 0),
)
"""Last letters of a word -> number of the ending; the first that fits counts."""

_BRACKETS = re.compile(r"\s*(\([^()]*\)|\[[^\[\]]*\])\s*$")

_MOST_READ = 64
"""Characters at the end of a word that are read: the time to find its brackets grows with the
square of the length."""


def ending(word: str) -> int | None:
    """Number of the ending of a word, 0 = a vowel; None = not known.

    Only whether it is 0, ㄹ or another consonant is meant to be read.
    """
    word = word[-_MOST_READ:]
    while (shorter := _BRACKETS.sub("", word)) != word:
        word = shorter
    word = re.sub(r"\W+$", "", word)
    last = _DIGITS.get(word[-1:], word[-1:])
    if _FIRST_SYLLABLE <= last <= _LAST_SYLLABLE:
        return (ord(last) - ord(_FIRST_SYLLABLE)) % _ENDINGS
    return next((number for pattern, number in _LATIN if pattern.search(word)), None)


class Noun(str):
    """A name in a sentence: ``{title}`` is the name, ``{title:을/를}`` the particle after it."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        """The name, or of ``consonant/vowel`` the form that follows it."""
        if "/" not in spec:
            return str.__format__(self, spec)
        after_consonant, after_vowel = spec.split("/")
        number = ending(self)
        if number is None:
            return f"{after_consonant}({after_vowel})"
        is_vowel = number == 0 or (number == _L and after_consonant == "으로")
        return after_vowel if is_vowel else after_consonant
