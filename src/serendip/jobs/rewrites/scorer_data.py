"""What the student of rewrites learns from: texts of which it is known what they should find.

Some are made: verified queries with a word of another one in them, or with another word for one of
theirs; and as many mixtures of two, which mean nothing that is there: nobody knows beforehand how
often that is so. Some are logged: texts that few items answer, after which people chose something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serendip.data.search_log import Search
from serendip.data.text import words
from serendip.search.logistic import RankingRows
from serendip.search.rewrites.candidates import checked
from serendip.search.rewrites.table import Near
from serendip.search.searcher import Searcher
from serendip.search.suggestions.checks import TOP
from serendip.search.suggestions.table import QueryTable

MADE, MOST_LOGGED = 1_000, 2_000
"""Draws of a query that texts are made of, and the newest texts of the log."""

SEVERAL = ("attribute", "rule", "phrase", "query")
"""Kinds of queries that are about several items."""


@dataclass(frozen=True, slots=True, eq=False)
class Learner:
    """What came of changes to texts of which it is known what they should find.

    Args:
        searcher: of the catalogue.
        near: word -> words nearest to it.
    """

    searcher: Searcher
    near: Near

    def rows(self, texts: Mapping[str, frozenset[int]]) -> list[RankingRows]:
        """Per text that few items answer and that has changes, their features and success.

        Args:
            texts: normal form -> items that it should find.
        """
        matcher = self.searcher.matcher
        found = []
        for key, items in texts.items():
            if matcher.is_answered(key):
                continue
            kept, features = checked(key, matcher, lambda word: self.near.get(word, ()))
            if kept:
                least = max(1, self._hits(key, items))
                good = [self._hits(one.text, items) >= least for one in kept]
                weights = np.full(len(kept), 1.0 / len(kept), np.float32)
                found.append(RankingRows(features, np.array(good, np.float32), weights))
        return found

    def _hits(self, text: str, items: frozenset[int]) -> int:
        """Items among the first ten results that were meant."""
        results = self.searcher.search(text, TOP, literal=True).item_nums.tolist()
        return len(items & set(results))


def logged_texts(searches: Sequence[Search]) -> dict[str, frozenset[int]]:
    """The newest texts after which something was chosen, and what was.

    Anybody's count, as nothing of them is kept but weights.
    """
    found: dict[str, set[int]] = {}
    for one in reversed(searches):
        if len(one.chosen) and (one.key in found or len(found) < MOST_LOGGED):
            found.setdefault(one.key, set()).update(one.chosen.tolist())
    return {key: frozenset(items) for key, items in found.items()}


def made_texts(queries: QueryTable, near: Near, seed: int) -> dict[str, frozenset[int]]:
    """Verified queries with one word too many, or another word for one of theirs; and mixtures.

    Returns:
        normal form -> items that it should find; none of a mixture.
    """
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(np.isin(queries.kinds, SEVERAL))
    found: dict[str, frozenset[int]] = {}
    if len(rows) < 2:
        return found
    for row in rng.choice(rows, MADE).tolist():
        items = queries.items[queries.starts[row] : queries.starts[row + 1]]
        key, other = queries.keys[row], queries.keys[int(rng.choice(rows))]
        worse = _worse(key, other, near, rng)
        found.update(dict.fromkeys(worse, frozenset(items.tolist())))
        found.update(dict.fromkeys(_mixed(key, other, rng, len(worse)), frozenset()))
    return found


def _worse(key: str, other: str, near: Near, rng: np.random.Generator) -> list[str]:
    typed, strange = words(key), str(rng.choice(words(other)))
    place, at = int(rng.integers(len(typed) + 1)), int(rng.integers(len(typed)))
    found = [] if strange in typed else [" ".join((*typed[:place], strange, *typed[place:]))]
    for word, _ in near.get(typed[at], ())[:1]:
        found.append(" ".join((*typed[:at], word, *typed[at + 1 :])))
    return found


def _mixed(key: str, other: str, rng: np.random.Generator, count: int) -> list[str]:
    """Words of both, about half of each, in any order."""
    found = []
    for _ in range(count):
        halves = [rng.permutation(words(one)) for one in (key, other)]
        both = np.concatenate([half[: (len(half) + 1) // 2] for half in halves])
        found.append(" ".join(rng.permutation(both).tolist()))
    return found
