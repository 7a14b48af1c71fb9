"""Series: what the titles of several items begin with, such as "Star Wars" or "Acme Drill 12".

A series is a beginning of titles after which most of them end, or go on with a colon, a comma, a
bracket, a dash, a number or, after a name of two words or more, a function word: "Toy Story 2",
"Alien: Covenant", "Harry Potter and the Goblet of Fire". "The Man" of many films is none.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from serendip.data.text import normalise
from serendip.search.phrases import most_frequent

LEAST_ITEMS = 3
_MAX_WORDS = 6
_FEWEST_LETTERS = 3
_COUNTED = frozenset("episode part vol volume chapter season book no nr issue".split())
"""Words before the number of a part, which end no series."""

_MIN_SHARE = 0.6
"""Share of the titles with a beginning that end or turn after it."""
_LONGER, _SAME = 0.85, 0.5
"""Shares of the titles with a beginning that have a longer one: from which on the longer one is
their series, if the shorter is a single word, and from which on the shorter one is that of both."""

_WORD = re.compile(r"\w[\w'’.&-]*\w|\w")
_TURN = re.compile(r"\s*($|[:,;(\[|–—/]|-\s|#?\d|[IVX]+\b)")


@dataclass(slots=True)
class _Beginning:
    """Titles with one beginning: their numbers, where they turn, its spellings and next words."""

    items: list[int] = field(default_factory=list)
    turns: int = 0
    spellings: Counter[str] = field(default_factory=Counter)


def find_series(titles: Sequence[str], grammar: Set[str]) -> dict[str, list[int]]:
    """Series, in their most frequent spelling -> ascending numbers of their titles.

    Function words are in normal form.
    """
    found: dict[str, _Beginning] = defaultdict(_Beginning)
    for number, title in enumerate(titles):
        for text, is_turn in _beginnings(title, grammar):
            beginning = found[normalise(text)]
            if not beginning.items or beginning.items[-1] != number:
                beginning.items.append(number)
                beginning.turns += is_turn
                beginning.spellings[text] += 1
    usable = {
        key: beginning
        for key, beginning in found.items()
        if len(beginning.items) >= LEAST_ITEMS
        and beginning.turns >= _MIN_SHARE * len(beginning.items)
    }
    kept = _drop_same(usable)
    return {
        most_frequent(usable[key].spellings): usable[key].items for key in usable if key in kept
    }


def _beginnings(title: str, grammar: Set[str]) -> Iterator[tuple[str, bool]]:
    """The first words of a title, 1 to 6 of them, and whether the title turns after them."""
    places = list(_WORD.finditer(title))[:_MAX_WORDS]
    keys = [normalise(place.group()) for place in places]
    if not keys or keys[0][:1].isdigit():  # a number of pieces, or a year
        return
    for last, place in enumerate(places):
        text = title[: place.end()]
        is_cut = keys[last] in grammar or keys[last] in _COUNTED or keys[last].isdigit()
        if is_cut or len(text) < _FEWEST_LETTERS:
            continue
        after = title[place.end() :].split(maxsplit=1)[:1]
        is_name = last > 0 and keys[0] not in grammar
        goes_on = is_name and normalise("".join(after)) in grammar  # "&" is "and"
        yield text, goes_on or bool(_TURN.match(title, place.end()))


def _drop_same(usable: Mapping[str, _Beginning]) -> Set[str]:
    """Keep one of two beginnings that mostly the same titles have."""
    kept = set(usable)
    for key, beginning in usable.items():
        parts, count = key.split(), len(beginning.items)
        for shorter in (" ".join(parts[:length]) for length in range(1, len(parts))):
            if shorter in usable:
                share = count / len(usable[shorter].items)
                is_longer = " " not in shorter and share >= _LONGER
                kept -= {shorter} if is_longer else {key} if share >= _SAME else set()
    return kept
