"""What a text means before anything is searched: an exact title, a misspelt one, or words.

A correction is made without being asked for only where it is confident; a less confident one is
told ("did you mean"), and the text is searched as it was typed. So is what an unknown word may
have been meant to be, although it is likelier that it was meant as it is. Where none of the words
is known, searching them would find nothing, so there is little to lose and less confidence will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from serendip.data.arrays import NO_ITEMS, IntArray
from serendip.data.text import normalise, title_key, words
from serendip.search.spelling.speller import Correction, Speller
from serendip.search.titles import TitledItem, TitleIndex

EXACT = 1.0
"""``title_match`` of an item that bears exactly the searched title."""

CORRECTED = 0.9
"""``title_match`` of an item that bears the title which was probably meant."""

MAX_NEAR_TITLES = 3
TITLE_CONFIDENCE = 0.9
"""Of a whole title of several words one or two edits from a text that needs an explanation."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """From which confidence on a correction is made.

    Args:
        usual: where some of the words are known.
        nothing: where none of them is.
        told: from here on it is at least told.
    """

    usual: float
    nothing: float
    told: float


@dataclass(frozen=True, slots=True, eq=False)
class Interpretation:
    """How a text was understood.

    Args:
        key: normal form of the text; empty for a blank one.
        exact: items that bear it as their title, best first.
        corrected_key: normal form of what is searched; equal to ``key`` where nothing changed.
        corrected: items that bear the corrected title, best first.
        told_key: normal form of what may have been meant and is not searched; empty where there is
            nothing to tell.
        unknown: words of the text that no item has, where it is searched as typed.
    """

    key: str
    exact: IntArray
    corrected_key: str
    corrected: IntArray
    told_key: str = ""
    unknown: tuple[str, ...] = ()


def read(text: str, titles: TitleIndex, speller: Speller, confidence: Confidence) -> Interpretation:
    """Understand a text: as an exact title, else as a title near to it, else word by word.

    Whole titles of several words are compared even where every word is known, because a slip often
    makes another word (``Star Warts``), unless the words stand beside each other in the catalogue,
    as in ``Las Vegas``. A single known word is left alone: ``horse`` does not mean ``House``.
    """
    as_typed = read_literally(text, titles, speller)
    normal = normalise(text)
    if len(as_typed.exact) or not normal or speller.is_plausible(normal):
        return as_typed
    near = titles.nearest(normal) if normal.isascii() else []
    near = [key for key in near if " " in key]
    meant = Correction(near[0], TITLE_CONFIDENCE) if near else _spelled(normal, titles, speller)
    if meant.text == normal:
        is_told = meant.rival_confidence >= confidence.told
        return replace(as_typed, told_key=meant.rival) if is_told else as_typed
    if meant.confidence < confidence.told:
        return as_typed
    nothing = len(as_typed.unknown) == len(set(words(normal)))
    if meant.confidence < (confidence.nothing if nothing else confidence.usual):
        return replace(as_typed, told_key=meant.text)
    keys = near[:MAX_NEAR_TITLES] or [meant.text]
    return Interpretation(as_typed.key, NO_ITEMS, meant.text, _bearing(keys, text, titles))


def read_literally(text: str, titles: TitleIndex, speller: Speller) -> Interpretation:
    """Take a text as it was typed."""
    key = title_key(text)
    unknown = (word for word in words(normalise(text)) if not speller.knows(word))
    return Interpretation(key, titles.exact(text), key, NO_ITEMS, "", tuple(dict.fromkeys(unknown)))


def with_rewrite(
    reading: Interpretation, text: str, titles: TitleIndex, speller: Speller
) -> Interpretation:
    """A text that no item answers, read as another one that some do."""
    other = read_literally(text, titles, speller)
    told = reading.told_key
    return Interpretation(reading.key, NO_ITEMS, other.key, other.exact, told, other.unknown)


def _spelled(normal: str, titles: TitleIndex, speller: Speller) -> Correction:
    """Word by word; what titles go on from is only completed, it is not finished, not wrong."""
    meant = speller.spelled(normal)
    likeliest = meant.text if meant.text != normal else meant.rival
    if not likeliest.startswith(normal) and titles.completions(normal, 1):
        return Correction(normal, 1.0)
    return meant


def _bearing(keys: Sequence[str], text: str, titles: TitleIndex) -> IntArray:
    """Items of some titles in order; among those of one title the spelling nearest to ``text``."""
    from rapidfuzz.distance import OSA

    def distance(bearer: TitledItem) -> tuple[int, float, int]:
        apart = OSA.distance(text.casefold(), bearer.title.casefold())
        return apart, -bearer.popularity, bearer.item_num

    numbers = [
        bearer.item_num for key in keys for bearer in sorted(titles.bearers(key), key=distance)
    ]
    return np.asarray(numbers, dtype=np.int32)
