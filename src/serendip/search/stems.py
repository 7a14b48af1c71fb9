"""Stems: terms by which other forms of a word are found, ``vegetarians`` by ``vegetarian``.

Words are stemmed in the language of the catalogue by the algorithms of Snowball, which come with
tantivy. In Hangul the stem is the word without its particle, in every catalogue. A stem has a mark,
so that it is never a word: ``~vegetarian``.

Paper: Porter 1980, "An algorithm for suffix stripping".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

from serendip.data.text import is_unspaced
from serendip.search.phrases import is_function_word, main_language

MARK = "~"

_MIN_LENGTH = 3
_PARTICLES = (
    *("에서는", "에서도", "에게서", "으로서", "으로써", "까지", "부터", "에서", "에게", "으로"),
    *("한테", "처럼", "보다", "이나", "이랑", "하고", "만의", "은", "는", "이", "가", "을"),
    *("를", "의", "에", "로", "와", "과", "도", "만", "랑"),
)
# A rest of one syllable is left alone: most often it is a part of the word.
_HANGUL = re.compile(f"([가-힣]{{2,}}?)(?:{'|'.join(_PARTICLES)})?")


@lru_cache(100_000)
def stem(word: str, language: str) -> str:
    """The marked stem of a word in normal form; empty for words that have no other forms.

    For the language see ``find_language``.
    """
    if hangul := _HANGUL.fullmatch(word):
        return MARK + hangul[1]
    has_stem = language and len(word) >= _MIN_LENGTH and word.isalpha() and not is_unspaced(word)
    if not has_stem or is_function_word(word, language):
        return ""
    return MARK + str(_analyser(language).analyze(word)[0])


def stems(words: Iterable[str], language: str) -> list[str]:
    """The marked stems of words, in order."""
    return list(filter(None, (stem(word, language) for word in words)))


def find_language(texts: Iterable[str]) -> str:
    """The main language of texts, if there is a stemmer for it; else an empty string."""
    language = main_language(texts)
    try:
        return language if language and _analyser(language) else ""
    except ValueError:
        return ""


@cache
def _analyser(language: str) -> Any:
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    stemmer = Filter.stemmer(language)
    return TextAnalyzerBuilder(Tokenizer.whitespace()).filter(stemmer).build()
