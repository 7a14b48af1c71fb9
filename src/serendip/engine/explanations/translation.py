"""Sentences about answers, in the language of the request: English, or Korean.

A sentence is a template with names in it, written in English; ``locales`` has the translations (by
gettext: after a change of a ``.po``, ``msgfmt serendip.po -o serendip.mo`` beside it). Names of
items, words and values stay as they are in the catalogue. ``{title:을/를}`` writes the Korean
particle that fits the title (``korean.py``).
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from gettext import NullTranslations, translation
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from serendip.engine.explanations.korean import Noun

Language: TypeAlias = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

DEFAULT: Language = "en"

_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8})[A-Za-z0-9-]*\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?\s*"
)

_MOST_HEADER, _MOST_PART = 256, 40
"""Characters that are read of a header and of one of its parts: the time to match grows with the
square of the length, and anybody may send a header."""


def choose_language(accepted: str) -> Language:
    """The language of a request that there are sentences in; English without one.

    Args:
        accepted: see ``find_language``.
    """
    return find_language(accepted) or DEFAULT


def find_language(accepted: str) -> Language | None:
    """The language that a request wants most of those that there are sentences in; None = none.

    Args:
        accepted: a language tag, ``ko`` or ``ko-KR``, or a header ``Accept-Language`` such as
            ``ko-KR,ko;q=0.9,en;q=0.8``. Parts that are neither are passed over. Only the beginning
            of a long one is read.
    """
    best: Language | None = None
    weight = 0.0
    for part in accepted[:_MOST_HEADER].split(","):
        found = _RANGE.fullmatch(part.strip()[:_MOST_PART])
        for language in LANGUAGES:
            if found is not None and found[1].lower() == language:
                wanted = float(found[2] or 1)
                if wanted > weight:
                    best, weight = language, wanted
    return best


def is_readable(text: str, language: Language) -> bool:
    """Whether readers of a language know the letters of a text: Latin, and Hangul in Korean."""
    known = ("LATIN", "HANGUL") if language == "ko" else ("LATIN",)
    letters = (sign for sign in text if sign.isalpha())
    return all(unicodedata.name(letter, "").startswith(known) for letter in letters)


def translate(sentence: str, language: Language, **names: str | float) -> str:
    """A sentence in a language, or as it is where it has no translation.

    Args:
        sentence: template in English.
        language: of the request.
        names: values of the template.
    """
    nouns = {
        name: Noun(value) if isinstance(value, str) else value for name, value in names.items()
    }
    return _catalogue(language).gettext(sentence).format(**nouns)


@cache
def _catalogue(language: Language) -> NullTranslations:
    return translation("serendip", Path(__file__).parent / "locales", [language], fallback=True)
