"""Candidates become suggestions by three tests: safe, answered, and unlike each other.

Answered means: a query finds what it was made from. A query with a single item (``like {title}``,
one that an LLM wrote) must have it among its first ten results; one with several items must have
enough of them there. What people searched and chose from is answered where a chosen item is
there, or where enough results have all its words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.text import normalise, words
from serendip.runtime.progress import Progress
from serendip.search.searcher import Searcher
from serendip.search.suggestions.candidates import Candidate
from serendip.search.suggestions.config import QueriesConfig

TOP = 10
_ORDER = ("query", "attribute", "rule", "written", "phrase", "like")
"""Of two that are nearly the same the one of the earlier kind is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """What passed.

    Args:
        candidates: Q queries, the better of siblings.
        results: (Q, 10) int32 first results of each, -1 where there are fewer.
        dropped: test -> number of candidates that failed it.
    """

    candidates: list[Candidate]
    results: IntArray
    dropped: Mapping[str, int]


class SuggestionVerifier:
    """Tests candidates against one word index; remembers what each text found.

    Args:
        searcher: of the catalogue that the candidates were made from.
        config: thresholds and words.
    """

    def __init__(self, searcher: Searcher, config: QueriesConfig) -> None:
        self._searcher, self._config = searcher, config
        self._unsafe = Blocklist.of(config.unsafe_words)
        self._found: dict[str, IntArray] = {}

    def verify(self, candidates: Sequence[Candidate], progress: Progress) -> Verified:
        """Those that pass all tests."""
        dropped: Counter[str] = Counter()
        passed: list[tuple[Candidate, IntArray]] = []
        for one in progress.track(candidates, "suggested queries", len(candidates)):
            if not self._unsafe.allows(one.text):
                dropped["unsafe"] += 1
                continue
            results = self._results(one.text)
            if self._is_answered(one, results):
                passed.append((one, results))
            else:
                dropped["not answered"] += 1
        kept = _without_siblings(passed, self._config.same_share, dropped)
        table = np.full((len(kept), TOP), -1, np.int32)
        for row, (_, results) in enumerate(kept):
            table[row, : len(results)] = results
        return Verified([one for one, _ in kept], table, dict(dropped))

    def _results(self, text: str) -> IntArray:
        if text not in self._found:
            self._found[text] = self._searcher.search(text, TOP).item_nums
        return self._found[text]

    def _is_answered(self, one: Candidate, results: IntArray) -> bool:
        good = int(np.isin(results, one.items).sum())
        if one.kind in ("like", "written"):
            return good > 0
        if one.kind == "query":
            return good > 0 or self._has_all_words(one.text, results) >= self._config.min_items
        wanted = min(TOP, len(one.items))
        return wanted > 0 and good >= self._config.good_share * wanted

    def _has_all_words(self, text: str, results: IntArray) -> int:
        """Number of results that each single word of a query finds, too, among its best."""
        counts: Counter[int] = Counter()
        found = words(normalise(text))
        for word in found:
            counts.update(self._searcher.lexical.search(word, 100 * TOP).item_nums.tolist())
        return sum(counts[number] == len(found) for number in results.tolist())


@dataclass(frozen=True, slots=True)
class Blocklist:
    """Words and phrases that nobody is to be offered, in normal form."""

    phrases: frozenset[str]

    @classmethod
    def of(cls, more: Iterable[str] = ()) -> Blocklist:
        """The built-in list and more words."""
        return cls(_built_in() | {normalise(one) for one in more if normalise(one)})

    def allows(self, text: str) -> bool:
        """True where no run of whole words of a text is one of the phrases."""
        padded = f" {normalise(text)} "
        if len(padded) <= 2:
            return False
        return not any(f" {phrase} " in padded for phrase in self.phrases)


@lru_cache(maxsize=1)
def _built_in() -> frozenset[str]:
    text = (files("serendip.search.suggestions") / "unsafe_words.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(normalise(line) for line in lines if normalise(line))


def _without_siblings(
    passed: Sequence[tuple[Candidate, IntArray]], same_share: float, dropped: Counter[str]
) -> list[tuple[Candidate, IntArray]]:
    """One of each normal form, and one of those whose results are nearly the same."""
    kept: list[tuple[Candidate, IntArray]] = []
    forms: set[frozenset[str]] = set()
    rows_of: dict[int, list[frozenset[int]]] = {}
    for one, results in sorted(passed, key=lambda pair: _preference(pair[0])):
        form, found = normal_form(one.text), frozenset(results.tolist())
        if form in forms:
            dropped["same words"] += 1
        elif any(_overlap(found, other) >= same_share for other in _near(found, rows_of)):
            dropped["same results"] += 1
        else:
            kept.append((one, results))
            forms.add(form)
            for item in found:
                rows_of.setdefault(item, []).append(found)
    return kept


def normal_form(text: str) -> frozenset[str]:
    """The words of a text, whatever their order and without a plural s."""
    found = words(normalise(text))
    return frozenset(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in found)


def _preference(one: Candidate) -> tuple[int, int, int, int, str]:
    return -one.users, _ORDER.index(one.kind), -len(one.items), len(one.text), one.text


def _near(
    found: frozenset[int], rows_of: Mapping[int, Sequence[frozenset[int]]]
) -> set[frozenset[int]]:
    """Kept lists that share an item with this one's rarest two: enough to meet any near twin."""
    rarest = sorted(found, key=lambda item: (len(rows_of.get(item, ())), item))[:3]
    return {other for item in rarest for other in rows_of.get(item, ())}


def _overlap(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / len(one | other) if one else 0.0
