"""Finds the item whose id is the searched text: goods are searched by their codes, too."""

from __future__ import annotations

from serendip.data.text import normalise
from serendip.data.vocabulary import MISSING, Vocabulary
from serendip.search.searcher import Searcher


def match_item_id(text: str, vocabulary: Vocabulary, searcher: Searcher) -> int:
    """Number of the item with this id, or with it in capitals or small letters; -1 = no id.

    An id has a digit. One of digits alone is not meant where an item has it as a word, as a year,
    and none is where a title is the text.
    """
    typed = text.strip()
    if not any(map(str.isdigit, typed)):
        return MISSING
    spellings = (typed, typed.upper(), typed.lower())
    number = next((n for name in spellings if (n := vocabulary.number(name)) >= 0), MISSING)
    if number < 0 or len(searcher.titles.exact(text)):
        return MISSING
    return MISSING if typed.isdigit() and searcher.speller.knows(normalise(typed)) else number
