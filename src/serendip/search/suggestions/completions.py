"""Query autocompletion from titles, attribute values and popularity.

Sources, in the order of the answer: attribute values that begin with the prefix (at most two),
titles that begin with it, titles with a later word that does, titles that contain it inside a word
of a script without spaces, and, only if all of these are empty, titles that were probably meant.
Every completion has results.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

import numpy as np

from serendip.data.text import query_grams, title_key
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import Candidate, QueryKind
from serendip.search.suggestions.checks import TOP

MAX_VALUES = 2


def find_completions(searcher: Searcher, prefix: str, k: int = 8) -> list[Candidate]:
    """The k best completions of a text, without repetitions.

    A blank text gives the most popular titles. A candidate has the item of its title, or the first
    items of its value.
    """
    key, titles = title_key(prefix), searcher.titles
    completing = chain(titles.completions(key, max(k, 0)), _inside(searcher, key, k))
    candidates = chain(_values(searcher, key), _titled(searcher, completing, "title"))
    found = _distinct(candidates, k)
    return found or _distinct(_titled(searcher, _meant(searcher, prefix, k), "spelling"), k)


def _distinct(candidates: Iterable[Candidate], k: int) -> list[Candidate]:
    found: dict[str, Candidate] = {}
    for candidate in candidates if k > 0 else ():
        found.setdefault(title_key(candidate.text), candidate)
        if len(found) == k:
            break
    return list(found.values())


def _values(searcher: Searcher, key: str) -> Iterator[Candidate]:
    """Values of attributes that have a normal form from one of their words on, and find items."""
    values = searcher.values
    rows = np.unique(values.word_starts.starting(key)[0]).tolist() if key else []
    ranked = sorted(rows, key=lambda row: (-len(values.ranks_at(row)), values.texts[row]))
    hits = ((values.texts[row], searcher.lexical.search(values.texts[row], TOP)) for row in ranked)
    for value, found in islice((pair for pair in hits if len(pair[1])), MAX_VALUES):
        yield Candidate(value, "attribute", "fields", np.sort(found.item_nums))


def _inside(searcher: Searcher, key: str, k: int) -> Iterator[int]:
    """Items with ``key`` in the middle of a word of their title: 커피 in 아이스커피."""
    for number in searcher.lexical.search(key, k).item_nums.tolist() if query_grams(key) else ():
        title = searcher.titles.key(number)
        if key in title:
            yield from searcher.titles.bearers(title)[:1]


def _meant(searcher: Searcher, prefix: str, k: int) -> Iterator[int]:
    """Items of titles near the text, else of completions of its corrected words, or near it."""
    reading, titles = searcher.read(prefix), searcher.titles
    for number in reading.corrected.tolist()[:k]:
        yield from titles.bearers(titles.key(number))
    start = searcher.speller.correct_beginning(reading.key)
    yield from titles.completions(start, k) or titles.near_completions(start, k)


def _titled(searcher: Searcher, items: Iterable[int], kind: QueryKind) -> Iterator[Candidate]:
    for item in items:
        title = searcher.titles.title(item)
        yield Candidate(title, kind, "fields", np.array([item], np.int32))
