"""Places in titles that match the words of a search, for a front end that marks them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from serendip.data.text import is_unspaced, normalise, words
from serendip.search.language import stems

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def find_highlights(
    titles: Sequence[str], searched: str, language: str
) -> list[tuple[tuple[int, int], ...]]:
    """Begin and end of each match, in characters of each title, in order.

    A word matches in any of its forms; of a script without spaces a searched word matches inside
    others. ``language`` is that of the stems.
    """
    asked, forms = words(normalise(searched)), _find_forms(searched, language)
    runs = [word for word in asked if is_unspaced(word)]
    return [tuple(_find(title, forms, runs, language)) for title in titles]


@lru_cache(100_000)
def _find_forms(text: str, language: str) -> frozenset[str]:
    held = words(normalise(text))
    return frozenset([*held, *stems(held, language)])


def _find(
    title: str, forms: frozenset[str], runs: Sequence[str], language: str
) -> list[tuple[int, int]]:
    found = []
    for match in _WORD.finditer(title):
        if not forms.isdisjoint(_find_forms(match[0], language)):
            found.append(match.span())
            continue
        for run in runs:
            begin = match[0].find(run)
            if begin >= 0:
                found.append((match.start() + begin, match.start() + begin + len(run)))
                break
    return found
