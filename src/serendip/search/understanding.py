"""Query understanding: reads a text as an exact title, a misspelt title, values, or words.

A correction is searched right away only if its confidence is high; with less confidence it is
suggested ("did you mean") and the text is searched as typed. For an unknown word the best
correction is suggested too, even if the word as typed is likelier. A lower threshold applies to
what would find nothing as typed: a string that is no word, beside nothing that speaks against the
correction, and a text of which function words alone are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.arrays import NO_ITEMS, IntArray
from serendip.data.text import fold, normalise, title_key, words
from serendip.data.vocabulary import MISSING
from serendip.search.documents import MAX_QUERY_TERMS
from serendip.search.phrases import is_function_word
from serendip.search.spelling.speller import ENGLISH, Correction, Speller
from serendip.search.spelling.word_statistics import english_word_frequencies
from serendip.search.stems import stem
from serendip.search.titles import TitledItem, TitleIndex
from serendip.search.values import MOST_WORDS, ValueTable

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

_ASKED, _KINDS = FRESH | WELL_RECEIVED, GENERIC - WELL_RECEIVED

_LIKE = re.compile(
    r"(?P<before>.*?)\b(?:like|similar to)\s+(?P<title>.+)|(?P<korean>.+?)(?:[와과]|이?랑)?\s*"
    r"(?:같은|비슷한)\s*(?P<after>.*)",
    re.IGNORECASE,
)
"""A request for items like one."""

_ASKING = frozenset("something anything find show want looking watch read buy 것 거".split())
"""Words of such a request beside function words and generic ones."""

_IN_GENERAL = GENERIC | _ASKED | _ASKING

_FEWEST_SIGNS = 5
"""Of the beginning of a title that is asked for: "like star wars"."""

MOST_COMMON = 0.05
"""Largest share of the items that a value has which alone leads before other words."""

_FEWEST_LETTERS, _MOST_CUT, _ENDINGS = 4, 3, ("", "y", "s", "es", "e", "en", "er")
"""Letters of a word whose other forms are looked for: letters cut off its end, others put on."""

_FEWEST_OF_NAME = 8
"""Signs of a name of several words in which slips are looked for."""

MAX_NEAR_TITLES = 3
TITLE_CONFIDENCE = 0.9
"""Confidence of a whole title of several words, one or two edits from an implausible text."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """Confidence thresholds of corrections.

    Args:
        usual: to search a correction, if some of the words are known.
        nothing: to search a correction, if what is corrected would find nothing.
        suggested: to suggest a correction.
    """

    usual: float
    nothing: float
    suggested: float


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
        is_newest: whether it asks for the newest.
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
        told_key: normal form of a suggested correction that is not searched; empty = none.
        unknown: words of the text that no item has, if it is searched as typed.
        content: what the searched text asks for.
    """

    key: str
    exact: IntArray
    corrected_key: str
    corrected: IntArray
    told_key: str = ""
    unknown: tuple[str, ...] = ()
    content: Content = Content()


def read(
    text: str,
    titles: TitleIndex,
    values: ValueTable,
    speller: Speller,
    confidence: Confidence,
) -> Interpretation:
    """Interpret a text as an exact title, else as a near title or value, else word by word.

    Whole titles and values of several words are compared even if every word is known, because a
    typo often makes another word (``Star Warts``), unless the words occur next to each other in the
    catalogue, as in ``Las Vegas``. A single known word is not corrected: ``horse`` does not mean
    ``House``.
    """
    as_typed = read_literally(text, titles, speller)
    normal = normalise(text)
    if not len(as_typed.exact) and (named := _without_kind(normal, speller.stemmed or ENGLISH)):
        title = read(named, titles, values, speller, confidence)
        if len(title.exact) or len(title.corrected):
            return title
    if len(as_typed.exact) or not normal or speller.is_plausible(normal):
        return as_typed
    near = titles.nearest(normal) if normal.isascii() else []
    near = [key for key in near if " " in key]
    if not near and len(normal) >= _FEWEST_OF_NAME and normal.isascii() and " " in normal:
        near = [name for name in [values.nearest(normal)] if " " in name]
    meant = Correction(near[0], TITLE_CONFIDENCE) if near else _correct(normal, titles, speller)
    said = [
        word
        for word in words(normal)
        if word not in GENERIC and not is_function_word(word, speller.stemmed)
    ]
    finds_nothing = bool(said) and set(said) <= set(as_typed.unknown)
    is_likely = meant.rival_confidence >= confidence.nothing
    if finds_nothing and is_likely and meant.text == normal and " " in normal:
        meant = Correction(meant.rival, meant.rival_confidence, True)
    if meant.text == normal:
        is_suggested = meant.rival_confidence >= confidence.suggested
        return replace(as_typed, told_key=meant.rival) if is_suggested else as_typed
    if meant.confidence < confidence.suggested:
        return as_typed
    risks_little = meant.risks_little or finds_nothing
    if meant.confidence < (confidence.nothing if risks_little else confidence.usual):
        return replace(as_typed, told_key=meant.text)
    keys = near[:MAX_NEAR_TITLES] or [meant.text]
    return Interpretation(as_typed.key, NO_ITEMS, meant.text, _items_titled(keys, text, titles))


def _without_kind(normal: str, language: str) -> str:
    """What is said to be the title of something, "the film heat"; empty = nothing is."""
    typed = normal.split(" ")
    at = next((at for at, word in enumerate(typed) if word in _KINDS), len(typed))
    is_said = all(is_function_word(word, language) for word in typed[:at])
    return " ".join(typed[at + 1 :]) if is_said else ""


def read_literally(text: str, titles: TitleIndex, speller: Speller) -> Interpretation:
    """Interpret a text as typed, without corrections."""
    key = title_key(text)
    typed = dict.fromkeys(words(normalise(text)))
    unknown = tuple(word for word in typed if not speller.knows(word))
    return Interpretation(key, titles.exact(text), key, NO_ITEMS, "", unknown)


def _correct(normal: str, titles: TitleIndex, speller: Speller) -> Correction:
    """Correct word by word; a prefix of a title is unfinished, not wrong, so it may only grow."""
    meant = speller.correct(normal)
    likeliest = meant.text if meant.text != normal else meant.rival
    if not likeliest.startswith(normal) and titles.completions(normal, 1):
        return Correction(normal, 1.0)
    return meant


def _items_titled(keys: Sequence[str], text: str, titles: TitleIndex) -> IntArray:
    """Items of some titles in order; items of one title by edit distance of spelling to text."""
    from rapidfuzz.distance import OSA

    def distance(item: TitledItem) -> tuple[int, float, int]:
        edits = OSA.distance(fold(text), fold(item.title))
        return edits, -item.popularity, item.item_num

    numbers = [item.item_num for key in keys for item in sorted(titles.bearers(key), key=distance)]
    return np.asarray(numbers, dtype=np.int32)


def find_liked(
    text: str, titles: TitleIndex, grammar: frozenset[str], correct: Callable[[str], IntArray]
) -> int:
    """Number of the item that a text asks for others like, "movies like Heat"; -1 = of none.

    Args:
        text: that was typed.
        titles: of the items.
        grammar: function words.
        correct: text -> the items whose title it is with a slip, best first.
    """
    title = find_wish(text, grammar)
    if not title or len(titles.exact(fold(text).strip())):
        return MISSING
    liked = titles.exact(title).tolist()
    if not liked and len(key := title_key(title)) >= _FEWEST_SIGNS:
        liked = titles.complete_items(key, 1) or correct(title).tolist()
    return int(liked[0]) if liked else MISSING


def find_wish(text: str, grammar: frozenset[str]) -> str:
    """The title that a text asks for others like, known or not; empty = it asks for none."""
    match = _LIKE.fullmatch(fold(text).strip())
    if match is None:
        return ""
    asked = words(normalise(f"{match['before'] or ''} {match['after'] or ''}"))
    is_wish = (grammar | GENERIC | _ASKING).issuperset(asked)
    return match["title"] or match["korean"] if is_wish else ""


def find_content(
    key: str,
    values: ValueTable,
    counts: Mapping[str, int],
    grammar: frozenset[str],
    also: Mapping[str, Sequence[str]],
    language: str,
    is_of_titles: Callable[[str], bool] = lambda _: False,
) -> Content:
    """What a normalised text asks for: the values that it names, the longest first, and the rest.

    Args:
        key: the text.
        values: of the catalogue.
        counts: word -> number of items that have it in any field. A single word is a value where
            most of these have it as one: "hitchcock" is a person, "king" a word.
        grammar: function words.
        also: term -> its synonyms, of which one may be a value where the term is none.
        language: of the catalogue, see ``stems.find_language``.
        is_of_titles: whether titles have a word, which then is no other form of a value: "Star
            Wars" is no war, and "Leon" not Sergio Leone.
    """

    def is_value(name: str) -> bool:
        if " " in name:
            return not grammar.issuperset(name.split(" ")) and values.size(name) > 0
        return name not in grammar and 2 * values.size(name) > counts.get(name, 0)

    def find_values(name: str, goes_on: bool = True) -> tuple[str, ...]:
        """A value, another form of one, or the values that a synonym is made of."""
        forms = () if is_value(name) or is_of_titles(name) else _other_forms(name, language)
        found = next(filter(is_value, (name, *forms)), "")
        if found:
            return (found,)
        for term in also.get(name, ()):
            parts: list[tuple[str, ...]] = [(term,)] if is_value(term) else []
            if " " in term and goes_on and not parts:
                parts = [find_values(word, False) for word in term.split(" ")]
            if parts and all(parts):
                return tuple(value for part in parts for value in part)
        return ()

    typed = key.split(" ")[:MAX_QUERY_TERMS]
    named: list[str] = []
    others: list[str] = []
    begin = 0
    while begin < len(typed):
        ends = range(min(begin + MOST_WORDS, len(typed)), begin, -1)
        found = ((end, find_values(" ".join(typed[begin:end]))) for end in ends)
        end, read = next(((end, read) for end, read in found if read), (0, ()))
        if end:
            named += read
            typed[begin:end] = _without_genitive(typed[begin:end], read)
        else:
            others += words(typed[begin])
        begin = end or begin + 1
    rest = [word for word in others if word not in grammar]
    # Of all other words: "new" may be a function word of a catalogue.
    is_whole = not _ASKED.isdisjoint(others) and _IN_GENERAL.issuperset(rest)
    specific = tuple(word for word in rest if word not in GENERIC and not is_whole)
    is_newest = is_whole and not FRESH.isdisjoint(others)
    all_words = words(" ".join(typed))
    said = [word for word in all_words if word not in grammar] or all_words
    needed = [word for word in said if word not in GENERIC] or said
    is_language = any(word in counts or word in english_word_frequencies() for word in needed)
    texts = " ".join(said), " ".join(needed)
    return Content(tuple(named), specific, *texts, is_language, is_whole, is_newest)


def _other_forms(word: str, language: str) -> Iterator[str]:
    """Forms of a word with the same stem, ``comedies`` -> ``comedy``, and without a genitive."""
    if " " in word or len(word) < _FEWEST_LETTERS or word in _ASKED:
        return
    if word.endswith("s"):  # ``hitchcocks``, as ``normalise`` joins the genitive
        yield word[:-1]
    own = stem(word, language)
    for cut in range(_MOST_CUT + 1):
        begin = word[: len(word) - cut]
        for ending in _ENDINGS:
            if own and begin + ending != word and stem(begin + ending, language) == own:
                yield begin + ending


def _without_genitive(typed: Sequence[str], read: Sequence[str]) -> list[str]:
    """The words of a name, ``hitchcock`` for ``hitchcocks``; other words as typed."""
    is_genitive = len(typed) == 1 and read == (typed[0][:-1],)
    return list(read) if is_genitive else list(typed)
