"""Verification of candidate suggestions: safe, answered, and not near-duplicates of each other.

Answered means that a query finds the items it was made from. A query of a single item (``like
{title}``, or one that an LLM wrote) must have the item among its first ten results; one of several
items must have enough of them there. A query that enough people searched is answered if one of its
items is there, or if enough results have all its words, whatever else it was made from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from serendip.data import IntArray, normalise, words
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import MIN_ITEMS, Candidate

TOP = 10
_GOOD_SHARE, _COMBINED_SHARE = 0.3, 0.5
"""Share of the first ten results, or of the query's own items if these are fewer, that must be
items that the query was made from; of a combination half, so that these have all that it says."""

_SAME_SHARE = 0.8
"""Jaccard overlap of the first ten results from which two queries are near-duplicates, of which one
is kept."""

_ORDER = ("query", "attribute", "series", "name", "rule", "written", "phrase", "like")
"""Preference among near-duplicates: the earlier kind is kept."""


def verify_candidates(
    candidates: Iterable[Candidate],
    searcher: Searcher,
    unsafe_words: Iterable[str],
    dropped: Counter[str],
) -> tuple[list[Candidate], IntArray]:
    """Keep the candidates that pass all tests, and find their results.

    What fails is added to ``dropped``: test -> number of candidates. Returns Q candidates without
    near-duplicates, and (Q, 10) int32 first results of each, padded with -1.
    """
    blocklist = Blocklist.of(unsafe_words)
    passed: list[tuple[Candidate, IntArray]] = []
    for candidate in candidates:
        if not blocklist.allows(candidate.text):
            dropped["unsafe"] += 1
            continue
        results = searcher.search(candidate.text, TOP).item_nums
        if _is_answered(candidate, results, searcher):
            passed.append((candidate, results))
        else:
            dropped["not answered"] += 1
    kept = _drop_near_duplicates(passed, dropped)
    table = np.full((len(kept), TOP), -1, np.int32)
    for row, (_, results) in enumerate(kept):
        table[row, : len(results)] = results
    return [candidate for candidate, _ in kept], table


def _is_answered(candidate: Candidate, results: IntArray, searcher: Searcher) -> bool:
    relevant = int(np.isin(results, candidate.items).sum())
    if candidate.kind in ("like", "written"):
        return relevant > 0
    if candidate.users:
        complete = searcher.lexical.having_all(normalise(candidate.text), 100 * TOP)
        return relevant > 0 or int(np.isin(results, complete).sum()) >= MIN_ITEMS
    most, share = min(TOP, len(candidate.items)), _GOOD_SHARE
    if candidate.kind in ("name", "rule"):
        share = max(share, _COMBINED_SHARE)
    return most > 0 and relevant >= share * most


@dataclass(frozen=True, slots=True)
class Blocklist:
    """Words and phrases that are never suggested, in normal form."""

    phrases: frozenset[str]

    @classmethod
    def of(cls, more: Iterable[str] = ()) -> Blocklist:
        """Build from the built-in list and further words."""
        return cls(_built_in() | {normalise(word) for word in more if normalise(word)})

    def allows(self, text: str) -> bool:
        """True if a text contains none of the phrases as whole words."""
        padded = f" {normalise(text)} "
        if len(padded) <= 2:
            return False
        return not any(f" {phrase} " in padded for phrase in self.phrases)


@lru_cache(maxsize=1)
def _built_in() -> frozenset[str]:
    text = (files("serendip.search.suggestions") / "unsafe_words.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(normalise(line) for line in lines if normalise(line))


def _drop_near_duplicates(
    passed: Sequence[tuple[Candidate, IntArray]], dropped: Counter[str]
) -> list[tuple[Candidate, IntArray]]:
    kept: list[tuple[Candidate, IntArray]] = []
    forms: set[frozenset[str]] = set()
    lists_by_item: dict[int, list[frozenset[int]]] = {}
    for candidate, results in sorted(passed, key=lambda pair: _preference(pair[0])):
        form, items = normal_form(candidate.text), frozenset(results.tolist())
        if form in forms:
            dropped["same words"] += 1
        elif any(
            len(items & other) >= _SAME_SHARE * len(items | other)
            for other in _near_lists(items, lists_by_item)
        ):
            dropped["same results"] += 1
        else:
            kept.append((candidate, results))
            forms.add(form)
            for item in items:
                lists_by_item.setdefault(item, []).append(items)
    return kept


def normal_form(text: str) -> frozenset[str]:
    """The set of words of a text, without plural s."""
    typed = words(normalise(text))
    return frozenset(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in typed)


def _preference(candidate: Candidate) -> tuple[int, int, int, int, str]:
    rank, text = _ORDER.index(candidate.kind), candidate.text
    return -candidate.users, rank, -len(candidate.items), len(text), text


def _near_lists(
    items: frozenset[int], lists_by_item: Mapping[int, Sequence[frozenset[int]]]
) -> set[frozenset[int]]:
    # Any near-duplicate shares one of this list's three rarest items.
    rarest = sorted(items, key=lambda item: (len(lists_by_item.get(item, ())), item))[:3]
    return {other for item in rarest for other in lists_by_item.get(item, ())}
