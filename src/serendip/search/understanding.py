"""What a text means before anything is searched: an exact title, a misspelt one, or words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.analysis import normalise, title_key
from serendip.data.arrays import NO_ITEMS, IntArray
from serendip.search.spelling import Speller
from serendip.search.title_table import Bearer
from serendip.search.titles import TitleIndex

EXACT = 1.0
"""``title_match`` of an item that bears exactly the searched title."""

CORRECTED = 0.9
"""``title_match`` of an item that bears the title which was probably meant."""

MAX_NEAR_TITLES = 3


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """How a text was understood.

    Args:
        key: normal form of the text; empty for a blank one.
        exact: items that bear it as their title, best first.
        corrected_key: normal form of what was meant; equal to ``key`` where nothing changed.
        corrected: items that bear the corrected title, best first.
    """

    key: str
    exact: IntArray
    corrected_key: str
    corrected: IntArray


def read(text: str, titles: TitleIndex, speller: Speller) -> Reading:
    """Understand a text: as an exact title, else as a title near to it, else word by word.

    Whole titles are compared even where every word is known, because a slip often makes another
    word (``Star Warts``). A single known word is left alone: ``horse`` does not mean ``House``.
    """
    key, normal = title_key(text), normalise(text)
    exact = titles.exact(text)
    if len(exact) or not normal or (" " not in normal and speller.knows(normal)):
        return Reading(key, exact, key, NO_ITEMS)
    near = titles.nearest(normal)
    if near:
        return Reading(key, exact, near[0], _bearing(near[:MAX_NEAR_TITLES], text, titles))
    unfinished = titles.completions(normal, 1)
    meant = normal if unfinished else speller.corrected(normal)
    if meant == normal:
        return Reading(key, exact, key, NO_ITEMS)
    return Reading(key, exact, meant, _bearing([meant], text, titles))


def _bearing(keys: Sequence[str], text: str, titles: TitleIndex) -> IntArray:
    """Items of some titles in order; among those of one title the spelling nearest to ``text``."""
    from rapidfuzz.distance import OSA

    def distance(bearer: Bearer) -> tuple[int, float, int]:
        apart = OSA.distance(text.casefold(), bearer.title.casefold())
        return apart, -bearer.popularity, bearer.item_num

    numbers = [
        bearer.item_num for key in keys for bearer in sorted(titles.bearers(key), key=distance)
    ]
    return np.asarray(numbers, dtype=np.int32)
