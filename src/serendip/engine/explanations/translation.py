"""Sentences about answers, in the language of the request: English, or Korean.

A sentence is a template with names in it, written in English; ``locales`` has the translations (by
gettext: after a change of a ``.po``, ``msgfmt serendip.po -o serendip.mo`` beside it). Names of
items, words and values stay as they are in the catalogue. ``{title:을/를}`` writes the Korean
particle that fits the title.

Korean particles depend on how the word before them ends.

A word that ends in a consonant takes 을, 은, 이, 과, one that ends in a vowel 를, 는, 가, 와;
before (으)로 an ending in ㄹ counts as a vowel. For Hangul the ending is part of the code point.
Digits end as they are read (3 = 삼). Latin words end as their last letters are usually
transcribed, which is a guess: ``Matrix`` = 매트릭스, ``Film`` = 필름. After a word that nothing is
known of, both forms are written, 을(를), as Korean forms do. A bracket at the end is not read: the
particle belongs to the word before it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from gettext import NullTranslations, translation
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

Language: TypeAlias = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

DEFAULT: Language = "en"

_RANGE = re.compile(
    r"(en|ko)(?:-[a-z0-9-]*)?\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?", re.IGNORECASE
)

# The time to match grows with the square of the length, and anybody may send a header.
_MOST_HEADER, _MOST_PART = 256, 40


def choose_language(accepted: str) -> Language:
    """The language of a request that there are sentences in; English without one."""
    return find_language(accepted) or DEFAULT


def find_language(accepted: str) -> Language | None:
    """The language that a request wants most of those that there are sentences in; None = none.

    Args:
        accepted: a language tag, ``ko`` or ``ko-KR``, or a header ``Accept-Language`` such as
            ``ko-KR,ko;q=0.9,en;q=0.8``. Parts that are neither are passed over. Only the beginning
            of a long one is read.
    """
    parts = (part.strip()[:_MOST_PART].rstrip() for part in accepted[:_MOST_HEADER].split(","))
    weights = {
        found[1].lower(): float(found[2] or 1)
        for found in filter(None, map(_RANGE.fullmatch, parts))
    }
    best = max(weights, key=lambda language: weights[language], default="")
    return cast(Language, best) if best and weights[best] else None


def is_readable(text: str, language: Language) -> bool:
    """Whether readers of a language know the letters of a text: Latin, and Hangul in Korean."""
    known = ("LATIN", "HANGUL") if language == "ko" else ("LATIN",)
    letters = (sign for sign in text if sign.isalpha())
    return all(unicodedata.name(letter, "").startswith(known) for letter in letters)


def translate(sentence: str, language: Language, **names: str | float) -> str:
    """A sentence in a language, with names in it; as it is where it has no translation."""
    nouns = {
        name: Noun(value) if isinstance(value, str) else value for name, value in names.items()
    }
    return find_translation(sentence, language).format(**nouns)


def find_translation(sentence: str, language: Language) -> str:
    """A template in a language; as it is where it has no translation."""
    return _catalogue(language).gettext(sentence)


@cache
def _catalogue(language: Language) -> NullTranslations:
    return translation("serendip", Path(__file__).parent / "locales", [language], fallback=True)


_FIRST_SYLLABLE, _LAST_SYLLABLE = "가", "힣"
_ENDINGS = 28  # of a syllable; 0 = none, a vowel
_L = 8  # number of the ending ㄹ
_DIGITS = {"0": "영", "1": "일", "2": "이", "3": "삼", "4": "사", "5": "오", "6": "육", "7": "칠",
           "8": "팔", "9": "구"}  # fmt: skip

_LATIN = (
    (re.compile(r"(?i)(ng|me?|ne?)$"), 1),
    (re.compile(r"(?i)l(e)?$"), _L),
    (re.compile(r"(?i)[aeiou](b|c|ck|k|p|t)$"), 1),
    (re.compile(r"(?i)[a-z]$"), 0),
)  # number of the ending; the first that fits counts
_BRACKETS = re.compile(r"\s*(\([^()]*\)|\[[^\[\]]*\])\s*$")

_MOST_READ = 64  # characters of a word: the time to find its brackets grows with their square


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
        if "/" not in spec:
            return str.__format__(self, spec)
        after_consonant, after_vowel = spec.split("/")
        number = ending(self)
        if number is None:
            return f"{after_consonant}({after_vowel})"
        is_vowel = number == 0 or (number == _L and after_consonant == "으로")
        return after_vowel if is_vowel else after_consonant
