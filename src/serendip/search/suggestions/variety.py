"""Selection of a varied list of queries: the best next one, given those before it.

Each kind has a share of the positions, counted from the first position on, and what shares a word
with an earlier query counts less, as in maximal marginal relevance (Carbonell and Goldstein 1998,
"The Use of MMR, Diversity-Based Reranking"). The order does not depend on how many are wanted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias, TypeVar

import numpy as np

from serendip.search.phrases import ENGLISH
from serendip.search.suggestions.candidates import QueryKind
from serendip.search.suggestions.checks import normal_form

Group: TypeAlias = QueryKind | Literal["way out", "own"]

SHARES: Mapping[Group, float] = {
    "attribute": 0.1,
    "rule": 0.3,
    "name": 0.2,
    "series": 0.2,
    "phrase": 0.2,
    "like": 0.2,
    "written": 0.3,
    "own": 0.2,
    "query": 0.7,
}
"""Largest share of the positions of each group, rounded up; 1 for the others. ``query`` is whatever
people searched, of any kind, and ``own`` what the user did."""

SHARED_WORD = 0.6
"""What a query loses for each one before it that has a word of it, in log odds of being chosen."""

_OVER_SHARE = 1e3
"""What a query loses beyond the share of its group: it fills a list that would end otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """A query that can be selected; its score is the log odds of being chosen, or higher."""

    text: str
    group: Group
    score: float


OptionT = TypeVar("OptionT", bound=Option)


def select_varied(
    options: Sequence[OptionT], accepts: Callable[[OptionT], bool]
) -> Iterator[OptionT]:
    """Yield the options, the best next one first.

    Whether one may be shown after those that were yielded is asked once for each.
    """
    words = [_words(option.text) for option in options]
    groups = sorted({option.group for option in options})
    of_group = np.array([groups.index(option.group) for option in options], np.intp)
    scores = np.array([option.score for option in options], np.float64)
    numbers: Counter[str] = Counter()
    while len(scores) and np.isfinite(scores.max()):
        position = numbers.total() + 1
        over = np.array([_loss(group, numbers[group], position) for group in groups])
        place = int(np.argmax(scores - over[of_group]))
        scores[place] = -math.inf
        if accepts(options[place]):
            yield options[place]
            numbers[options[place].group] += 1
            shares_word = [not words[place].isdisjoint(others) for others in words]
            scores -= SHARED_WORD * np.array(shares_word)


@lru_cache(maxsize=16_384)
def _words(text: str) -> frozenset[str]:
    return normal_form(text) - ENGLISH


def _loss(group: Group, number: int, position: int) -> float:
    """What the group of a query costs it at a position, from 1, after so many of its group."""
    if number < math.ceil(SHARES.get(group, 1.0) * position):
        return 0.0
    return 2 * _OVER_SHARE if group == "attribute" else _OVER_SHARE
