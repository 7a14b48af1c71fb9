"""Finds the item whose id is the searched text: goods are searched by their codes, too."""

from __future__ import annotations

from serendip.data.text import code_key, normalise
from serendip.data.vocabulary import MISSING, Vocabulary
from serendip.search.documents import MAX_CODE
from serendip.search.searcher import Searcher


def match_item_id(text: str, vocabulary: Vocabulary, searcher: Searcher) -> int:
    """Number of the item with this id, whatever its case and separators; -1 = no id.

    The spelling as typed comes first; a code that is that of several items means none of them. An
    id has a digit. One of digits alone is not meant where an item has it as a word, as a year, and
    none is where a title is the text.
    """
    typed = text.strip()
    if not any(map(str.isdigit, typed)):
        return MISSING
    spellings = (typed, typed.upper(), typed.lower())
    number = next((n for name in spellings if (n := vocabulary.number(name)) >= 0), MISSING)
    if number < 0:
        number = _match_code(typed, vocabulary, searcher)
    if number < 0 or len(searcher.titles.exact(text)):
        return MISSING
    return MISSING if typed.isdigit() and searcher.speller.knows(normalise(typed)) else number


def _match_code(typed: str, vocabulary: Vocabulary, searcher: Searcher) -> int:
    """Number of the one item whose id is another spelling of a code; the word index has its key."""
    if len(typed) > 2 * MAX_CODE:  # separators count
        return MISSING
    key = code_key(typed)
    numbers = searcher.reader.find_code(key).tolist()
    same = [number for number in numbers if code_key(vocabulary.id(number)) == key]
    return same[0] if len(same) == 1 else MISSING
