"""The languages of a catalogue: function words, phrases between them, and stems.

**Stems** are terms by which other forms of a word are found, ``vegetarians`` by ``vegetarian``.
Words are stemmed in the language of the catalogue by the algorithms of Snowball, which come with
tantivy. In Hangul the stem is the word without its particle, in every catalogue. A stem has a mark,
so that it is never a word: ``~vegetarian``.

Paper: Porter 1980, "An algorithm for suffix stripping".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import cache, lru_cache
from itertools import islice
from typing import Any

from serendip.data.text import is_unspaced, normalise, words

_LONGEST_PHRASE = 3
_FEWEST_LETTERS = 3

ENGLISH = frozenset(
    "a about after again all also an and another any are as at be because been before being "
    "between both but by can could did do does down during each even every few first for from "
    "get gets had has have having he her here hers him himself his how if in into is it its "
    "itself just last may more most must new no not now of off old on once one only or other "
    "our out over own same she should so some such than that the their them themselves then "
    "there these they this those three through to too two under until up upon very was way we "
    "were what when where which while who whom whose why will with without would you your".split()
)
"""Function words of English: a phrase neither begins nor ends with one."""

_MOST_TEXTS = 2_000
_MIN_OWN_SHARE = 0.05
"""Share of function words from which on texts are of a language, without those that the main
language has, too: without accents a third of English words is Vietnamese or Slovak."""
_MIN_MAIN_SHARE = 0.03
"""Share of function words of the main language: titles of goods have few."""


def function_words(texts: Iterable[str]) -> frozenset[str]:
    """Function words, in normal form, of the languages that texts are in, and of English.

    Function words make up a third to a half of running text. Besides the main language, one is of
    the texts if many of their words are function words of it alone. The first 2,000 texts count.
    """
    counts = _count_words(texts)
    main = _languages()[_main_language(counts)]
    own = {name: listed - main for name, listed in _languages().items()}
    spoken = (name for name in own if _share(counts, own[name]) >= _MIN_OWN_SHARE)
    return ENGLISH.union(main, *(_languages()[name] for name in spoken))


def main_language(texts: Iterable[str]) -> str:
    """The language whose function words are most of the words of texts; empty if they are few.

    The first 2,000 texts count.
    """
    counts = _count_words(texts)
    language = _main_language(counts)
    return language if _share(counts, _languages()[language]) >= _MIN_MAIN_SHARE else ""


def is_function_word(word: str, language: str) -> bool:
    """Whether a word is a function word of a language."""
    return word in _languages().get(language, ())


def _count_words(texts: Iterable[str]) -> Counter[str]:
    return Counter(token for text in islice(texts, _MOST_TEXTS) for token in words(normalise(text)))


def _main_language(counts: Counter[str]) -> str:
    return max(_languages(), key=lambda name: _share(counts, _languages()[name]))


def _share(counts: Counter[str], listed: Set[str]) -> float:
    return sum(counts[word] for word in listed & counts.keys()) / (counts.total() or 1)


@cache
def _languages() -> dict[str, frozenset[str]]:
    from stop_words import AVAILABLE_LANGUAGES, get_stop_words

    others = [name for name in AVAILABLE_LANGUAGES if name != "english"]
    listed = {
        name: frozenset(token for word in get_stop_words(name) for token in words(normalise(word)))
        for name in others
    }
    return {"english": ENGLISH, **listed}


def phrases_of(text: str, without: frozenset[str] = ENGLISH) -> Iterator[str]:
    """Runs of up to three words that neither begin nor end with a function word or a number.

    They are yielded in normal form; for ``without`` see ``function_words``.
    """
    for sentence in _sentences(text):
        tokens = words(normalise(sentence))
        for begin, end in _runs(tokens, without):
            yield " ".join(tokens[begin:end])


def spell_phrases(text: str, without: frozenset[str] = ENGLISH) -> Iterator[tuple[str, str]]:
    """The phrases of a text: the normal form of each, and how the text spells it."""
    for sentence in _sentences(text):
        pairs = [pair for chunk in sentence.split() for pair in _spell(chunk)]
        tokens = [token for token, _ in pairs]
        for begin, end in _runs(tokens, without):
            run = pairs[begin:end]
            yield " ".join(token for token, _ in run), " ".join(spelled for _, spelled in run)


def _sentences(text: str) -> list[str]:
    return text.replace("!", ".").replace("?", ".").replace(",", ".").split(".")


def _spell(chunk: str) -> list[tuple[str, str]]:
    # Of several words between two blanks, the normal form is the spelling.
    tokens = words(normalise(chunk))
    if len(tokens) != 1:
        return [(token, token) for token in tokens]
    return [(tokens[0], re.sub(r"^\W+|\W+$", "", chunk) or tokens[0])]


def _runs(tokens: Sequence[str], without: frozenset[str]) -> Iterator[tuple[int, int]]:
    is_end = [_is_end(token, without) for token in tokens]
    for begin in range(len(tokens)):
        for end in range(begin + 1, min(begin + _LONGEST_PHRASE, len(tokens)) + 1):
            if is_end[begin] and is_end[end - 1]:
                yield begin, end


def _is_end(word: str, without: frozenset[str]) -> bool:
    is_long = len(word) >= _FEWEST_LETTERS or not word.isascii()
    return is_long and word not in without and not word[0].isdigit()


def most_frequent(spellings: Counter[str]) -> str:
    """The most frequent spelling, of several the first one; empty without any."""
    return min(spellings, key=lambda text: (-spellings[text], text), default="")


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
