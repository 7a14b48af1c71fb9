"""Query understanding: reads a text as an exact title, a misspelt title, or words.

A correction is searched right away only if its confidence is high; with less confidence it is
suggested ("did you mean") and the text is searched as typed. For an unknown word the best
correction is suggested too, even if the word as typed is likelier. A lower threshold applies to
what would find nothing as typed: a string that is no word, beside nothing that speaks against the
correction, and a text of which function words alone are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.arrays import NO_ITEMS, IntArray
from serendip.data.text import fold, normalise, title_key, words
from serendip.search.phrases import is_function_word
from serendip.search.spelling.speller import Correction, Speller
from serendip.search.titles import TitledItem, TitleIndex

EXACT = 1.0
"""``title_match`` of an item with exactly the searched title."""

CORRECTED = 0.9
"""``title_match`` of an item with the corrected title."""

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
    """

    key: str
    exact: IntArray
    corrected_key: str
    corrected: IntArray
    told_key: str = ""
    unknown: tuple[str, ...] = ()


def read(text: str, titles: TitleIndex, speller: Speller, confidence: Confidence) -> Interpretation:
    """Interpret a text as an exact title, else as a near title, else word by word.

    Whole titles of several words are compared even if every word is known, because a typo often
    makes another word (``Star Warts``), unless the words occur next to each other in the catalogue,
    as in ``Las Vegas``. A single known word is not corrected: ``horse`` does not mean ``House``.
    """
    as_typed = read_literally(text, titles, speller)
    normal = normalise(text)
    if len(as_typed.exact) or not normal or speller.is_plausible(normal):
        return as_typed
    near = titles.nearest(normal) if normal.isascii() else []
    near = [key for key in near if " " in key]
    meant = Correction(near[0], TITLE_CONFIDENCE) if near else _correct(normal, titles, speller)
    if meant.text == normal:
        is_suggested = meant.rival_confidence >= confidence.suggested
        return replace(as_typed, told_key=meant.rival) if is_suggested else as_typed
    if meant.confidence < confidence.suggested:
        return as_typed
    known = [word for word in words(normal) if word not in as_typed.unknown]
    finds_nothing = all(is_function_word(word, speller.stemmed) for word in known)
    risks_little = meant.risks_little or (finds_nothing and bool(as_typed.unknown))
    if meant.confidence < (confidence.nothing if risks_little else confidence.usual):
        return replace(as_typed, told_key=meant.text)
    keys = near[:MAX_NEAR_TITLES] or [meant.text]
    return Interpretation(as_typed.key, NO_ITEMS, meant.text, _items_titled(keys, text, titles))


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
