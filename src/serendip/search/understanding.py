"""What a text asks for: the levels of its hits, the words that stand for no item, wishes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serendip.data import IntArray, fold, normalise, words
from serendip.search.language import is_function_word, stem

EXACT, CORRECTED, VALUES, TITLED = 1.0, 0.9, 0.8, 0.75
ALL_WORDS, ONE_VALUE, SOME_WORDS = 0.7, 0.6, 0.5
"""How well an item matches a text, best first: it has the searched title; the corrected one; the
values of attributes that the text is made of; the text of several words in its title; all its
words; a rare value that it names; some of its words. A hit is never behind one of a lower level. Of
a text that is a title, words outside titles are no hits: they say less than what the item of that
title is like."""

GENERIC = frozenset(
    "movie movies film films book books song songs show shows item items product products "
    "starring featuring directed director actor actress author brand best good great top "
    "영화 책 노래 상품 제품 작품 추천 감독 배우 작가".split()
)
"""Words beside a value that name what a catalogue has, not which of it."""

FRESH = frozenset(
    "new newest newly latest recent releases released arrivals 신작 최신 신상".split()
)
"""Words for the newest items, in a text that names nothing else or values."""

WELL_RECEIVED = frozenset(
    "best good great top rated highest greatest finest popular favourite favorite must see "
    "recommended 추천 최고 최고의 인기 명작".split()
)
"""Words for the best items, in a text that names nothing else."""

_ASKED, KINDS = FRESH | WELL_RECEIVED, GENERIC - WELL_RECEIVED

_LIKE = re.compile(
    r"(?P<before>.*?)\b(?:like|similar to)\s+(?P<title>.+)|(?P<korean>.+?)(?:[와과]|이?랑)?\s*"
    r"(?:같은|비슷한)\s*(?P<after>.*)",
    re.IGNORECASE,
)
"""A request for items like one."""

_YEAR_TESTS = {
    **dict.fromkeys(("before", "older than"), ("<=", -1)),
    **dict.fromkeys(("until", "이전"), ("<=", 0)),
    **dict.fromkeys(("since", "이후"), (">=", 0)),
    **dict.fromkeys(("after", "newer than"), (">=", 1)),
}
_YEARS = re.compile(
    r"\b(?P<when>before|older than|until|since|after|newer than) (?P<year>(?:1[5-9]|20)[0-9]{2})\b"
    r"|(?P<korean_year>(?:1[5-9]|20)[0-9]{2})년? ?(?P<korean>이전|이후)"
)
"""Years that are asked for: "before 1950"."""

_ASKING = frozenset("something anything find show want looking watch read buy 것 거".split())
"""Words of such a request beside function words and generic ones."""

_IN_GENERAL = GENERIC | _ASKED | _ASKING | {"time", "ever"}

MOST_COMMON = 0.05
"""Largest share of the items that a value has which alone leads before other words."""

_FEWEST_LETTERS, _MOST_CUT, _ENDINGS = 4, 3, ("", "y", "s", "es", "e", "en", "er")
"""Letters of a word whose other forms are looked for: letters cut off its end, others put on."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a text asks for.

    Args:
        values: normal forms of the attribute values that it names.
        words: its other words, without function words and generic ones.
        text: its words without function words; all of them if there are no others.
        needed: the words that an item has to have, of those of ``text``.
        is_language: whether any of these is a word of the catalogue or of English.
        is_whole: whether it asks for the best or newest of all items, "best movies", or of those
            with its values.
    """

    values: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    text: str = ""
    needed: str = ""
    is_language: bool = True
    is_whole: bool = False
    is_newest: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Interpretation:
    """How a text was understood.

    Args:
        key: normal form of the text; empty for a blank one.
        exact: items with this title, best first.
        corrected_key: normal form of the searched text; equal to ``key`` without a correction.
        corrected: items with the corrected title, best first.
        unknown: words of the text that no item has, if it is searched as typed.
    """

    key: str
    exact: IntArray
    corrected_key: str
    corrected: IntArray
    told_key: str = ""
    unknown: tuple[str, ...] = ()
    content: Content = Content()


def without_kind(normal: str, language: str) -> str:
    """What is said to be the title of something, "the film heat"; empty = nothing is."""
    typed = normal.split(" ")
    at = next((at for at, word in enumerate(typed) if word in KINDS), len(typed))
    is_said = all(is_function_word(word, language) for word in typed[:at])
    return " ".join(typed[at + 1 :]) if is_said else ""


def find_wish(text: str, grammar: frozenset[str]) -> str:
    """The title that a text asks for others like, known or not; empty = it asks for none."""
    match = _LIKE.fullmatch(fold(text).strip())
    if match is None:
        return ""
    asked = words(normalise(f"{match['before'] or ''} {match['after'] or ''}"))
    is_wish = (grammar | GENERIC | _ASKING).issuperset(asked)
    return match["title"] or match["korean"] if is_wish else ""


def find_years(text: str) -> tuple[str, str]:
    """A text without the years that it asks for, and the test of a year: "<=1949" of "films before
    1950"; the text and nothing where it asks for none.
    """
    match = _YEARS.search(fold(text))
    if match is None:
        return text, ""
    sign, more = _YEAR_TESTS[match["when"] or match["korean"]]
    rest = f"{match.string[: match.start()]} {match.string[match.end() :]}"
    return " ".join(rest.split()), f"{sign}{int(match['year'] or match['korean_year']) + more}"


def asks_for_all(others: Sequence[str], rest: Sequence[str]) -> bool:
    """Whether words beside values ask for the best or newest of all, and for nothing else.

    ``rest`` are those of the others that are no function words; "new" may be one of a catalogue.
    """
    return not _ASKED.isdisjoint(others) and _IN_GENERAL.issuperset(rest)


def other_forms(word: str, language: str) -> Iterator[str]:
    """Forms of a word with the same stem, ``comedies`` -> ``comedy``; it, or a name of several
    words, without a genitive.
    """
    if len(word) < _FEWEST_LETTERS or word in _ASKED:
        return
    if word.endswith("s"):  # ``woody allens``, as ``normalise`` joins the genitive
        yield word[:-1]
    if " " in word:
        return
    own = stem(word, language)
    for cut in range(_MOST_CUT + 1):
        begin = word[: len(word) - cut]
        for ending in _ENDINGS:
            if own and begin + ending != word and stem(begin + ending, language) == own:
                yield begin + ending


def without_genitive(typed: Sequence[str], read: Sequence[str]) -> list[str]:
    """The words of a name, ``hitchcock`` for ``hitchcocks``; other words as typed."""
    is_genitive = tuple(read) == (" ".join(typed)[:-1],)
    return read[0].split(" ") if is_genitive else list(typed)
