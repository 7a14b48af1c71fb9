"""Query rewrites to offer for queries with few results: what people searched next, and a model.

A candidate drops terms (``broader``) or replaces one (``substitute``). It must have more matches
than the query: more items with all of its words. A relaxed query must also have an item among its
first ten that the query itself finds there, so that both are about the same kind of item, and it
may neither begin nor end with a function word. Rewrites are offered; no query is replaced by one.

The model is a logistic regression for P(rewrite helps). Its inputs (``FEATURES``) are computed from
the lexical index alone, the same offline and in a request. It is trained on synthetic examples
first: verified queries made too narrow, whose relevant items are known. The log then updates the
weights as far as its evidence goes: queries with few results, and what people chose after them. A
rewrite is a positive example if its first ten results contain a relevant item, and no fewer of them
than those of the query itself. The predicted probability is its confidence.

What people searched next is the next search of the same person, within half an hour, of which
something was chosen, after one of which nothing was. A text that only goes on from the one before
it is none, and private texts are left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from math import log, log1p
from typing import Any, Literal, Self, TypeAlias

import numpy as np

from serendip.data import Artefact, FloatArray
from serendip.data.events.search_log import Search
from serendip.data.privacy import count_people, private_keys
from serendip.data.text import NEGATIONS, normalise, title_key, words
from serendip.search.lexical import LexicalIndex
from serendip.search.logistic import LogisticModel
from serendip.search.phrases import ENGLISH, most_frequent
from serendip.search.spelling.word_statistics import WordPairs
from serendip.search.synonyms import Synonyms
from serendip.search.titles import TitleIndex

RewriteKind: TypeAlias = Literal["broader", "substitute"]

Also: TypeAlias = Callable[[str], Sequence[tuple[str, float]]]
"""Term -> terms that may replace it, each with its similarity in [0, 1]."""

FEW = 3
"""A query is answered if at least this many items have all of its words."""

OFFER_FROM = 0.5
"""Confidence from which a rewrite is offered: it more likely than not finds a relevant item, and no
fewer than the query itself."""

TOP = 10
_MOST_COUNTED = 100
_MOST_PARTS = 10
_MOST_PAIRED = 6
_LONGEST_TERM = 3

FEATURES = (
    "kept",
    "matches",
    "overlap",
    "likeness",
    "is substitute",
    "unknown gone",
    "unknown left",
    "at the start",
    "at the end",
    "shortness",
    "joined",
    "answered",
)
"""All in [0, 1]: share of the query's total IDF that is kept, number of matches (logarithmic),
overlap of the first ten results, similarity of the substitute, shares of unknown words among the
dropped and the remaining ones, position of the change, one over the number of remaining words,
share of these that follow their predecessor in the catalogue too, and matches of the query itself.
"""


@dataclass(frozen=True, slots=True)
class RewriteCandidate:
    """One possible rewrite.

    Args:
        gone: words of the query that it drops or replaces.
        likeness: similarity of the substitute; 0 without one.
        at_start, at_end: whether the dropped part was the first or the last one.
    """

    text: str
    kind: RewriteKind
    gone: tuple[str, ...]
    likeness: float = 0.0
    at_start: bool = False
    at_end: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class CatalogueMatcher:
    """Counts matches of queries in the catalogue, of words and of their pairs."""

    lexical: LexicalIndex
    counts: Mapping[str, int]
    pairs: WordPairs
    titles: TitleIndex

    def is_answered(self, key: str) -> bool:
        """Whether enough items have all words of a normal form, or it is a prefix of a title.

        A person who types a title wants its item, and has not finished before its end.
        """
        return self.matches(key) >= FEW or bool(self.titles.completions(key, 1))

    def matches(self, text: str) -> int:
        """Number of items that have all words of a text, at most 100."""
        return len(self.lexical.having_all(normalise(text), _MOST_COUNTED))

    def first(self, normal: str) -> frozenset[int]:
        """The first ten results of a normalised text."""
        return frozenset(self.lexical.search(normal, TOP).item_nums.tolist())

    def rarity(self, word: str) -> float:
        """Inverse document frequency (IDF) of a word."""
        return log((self.lexical.statistics.num_documents + 1) / (self.counts.get(word, 0) + 1))


def changes(normal: str, also: Also) -> list[RewriteCandidate]:
    """Generate candidates: drop one or two parts of a normalised text, or substitute a term.

    A part is a word, or a word with the negation before it ("without"), which must not be dropped
    alone. Two parts are dropped only from texts of three to six.
    """
    parts = _parts(normal)
    if len(parts) > _MOST_PARTS:
        return []
    candidates: dict[str, RewriteCandidate] = {}
    for candidate in (*_drop_parts(parts), *_substitute_terms(normal, also)):
        if candidate.text and candidate.text != normal:
            candidates.setdefault(candidate.text, candidate)
    return list(candidates.values())


def checked(
    normal: str, matcher: CatalogueMatcher, also: Also
) -> tuple[list[RewriteCandidate], FloatArray]:
    """The candidates with more matches than the text, and their features (R, F)."""
    now, first = matcher.matches(normal), matcher.first(normal)
    rows: dict[RewriteCandidate, list[float]] = {}
    for change in changes(normal, also):
        if (matches := matcher.matches(change.text)) > now:
            overlap = len(first & matcher.first(change.text)) / TOP
            if change.kind == "substitute" or (overlap > 0 and _is_whole(change.text)):
                rows[change] = _features(normal, change, matcher, (now, matches, overlap))
    return [*rows], np.array([*rows.values()], np.float32).reshape(-1, len(FEATURES))


def _parts(normal: str) -> list[str]:
    parts: list[str] = []
    for word in words(normal):
        if parts and parts[-1] in NEGATIONS:
            parts[-1] = f"{parts[-1]} {word}"
        else:
            parts.append(word)
    return parts


def _is_whole(text: str) -> bool:
    """Whether a text neither begins nor ends with a function word.

    It may begin with a negation if at least one word follows.
    """
    left = words(text)
    return not (left[0] in ENGLISH or left[-1] in ENGLISH or left[-1] in NEGATIONS)


def _drop_parts(parts: Sequence[str]) -> Iterator[RewriteCandidate]:
    sizes = (1, 2) if 2 < len(parts) <= _MOST_PAIRED else (1,)
    for size in sizes if len(parts) > 1 else ():
        for gone in combinations(range(len(parts)), size):
            left = " ".join(part for at, part in enumerate(parts) if at not in gone)
            dropped = tuple(word for at in gone for word in parts[at].split())
            ends = (0 in gone, len(parts) - 1 in gone)
            yield RewriteCandidate(left, "broader", dropped, 0.0, *ends)


def _substitute_terms(normal: str, also: Also) -> Iterator[RewriteCandidate]:
    typed = words(normal)
    for size in range(1, _LONGEST_TERM + 1):
        for begin in range(len(typed) - size + 1):
            end = begin + size
            for other, likeness in also(" ".join(typed[begin:end])):
                text = " ".join((*typed[:begin], other, *typed[end:]))
                ends = (begin == 0, end == len(typed))
                yield RewriteCandidate(text, "substitute", tuple(typed[begin:end]), likeness, *ends)


def _features(
    normal: str,
    change: RewriteCandidate,
    matcher: CatalogueMatcher,
    found: tuple[int, int, float],
) -> list[float]:
    left, (now, matches, overlap) = words(change.text), found
    whole, gone = (sum(map(matcher.rarity, some)) for some in (words(normal), change.gone))
    return [
        1.0 - gone / max(whole, 1e-9),
        log1p(matches) / log1p(_MOST_COUNTED),
        overlap,
        change.likeness,
        float(change.kind == "substitute"),
        sum(word not in matcher.counts for word in change.gone) / len(change.gone),
        sum(word not in matcher.counts for word in left) / len(left),
        float(change.at_start),
        float(change.at_end),
        1.0 / len(left),
        sum(matcher.pairs.count(*pair) > 0 for pair in pairwise(left)) / len(left),
        now / FEW,
    ]


Near: TypeAlias = Mapping[str, tuple[tuple[str, float], ...]]
MOST = 3


@dataclass(frozen=True, slots=True)
class Rewrite(Artefact):
    """A query to offer instead.

    Args:
        text: as shown and searched.
        kind: ``broader`` or ``substitute``.
        confidence: in [0, 1].
    """

    text: str
    kind: RewriteKind
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class RewriteTable(Artefact):
    """Rewrites prepared offline.

    Args:
        head: normal form of a query that people left without a choice -> what they searched next.
        scorer: of all candidates; None = there was no training data.
        near: word -> nearest words, with their cosines.
    """

    head: Mapping[str, tuple[Rewrite, ...]] = field(default_factory=dict)
    scorer: LogisticModel | None = None
    near: Near = field(default_factory=dict)

    def find(
        self,
        key: str,
        matcher: CatalogueMatcher,
        synonyms: Synonyms,
        offer_from: float = OFFER_FROM,
    ) -> tuple[Rewrite, ...]:
        """The rewrites of a query with few matches, the surest first; each has results now.

        Accepted synonyms are used as substitutes.
        """
        if not key or matcher.is_answered(key):
            return ()
        rewrites = [*self.head.get(key, ()), *self.score(key, matcher, synonyms)]
        distinct: dict[str, Rewrite] = {}
        for rewrite in sorted(rewrites, key=lambda rewrite: (-rewrite.confidence, rewrite.text)):
            if rewrite.confidence >= offer_from:
                distinct.setdefault(title_key(rewrite.text), rewrite)
        return tuple(one for one in distinct.values() if matcher.matches(one.text))[:MOST]

    def score(self, key: str, matcher: CatalogueMatcher, synonyms: Synonyms) -> list[Rewrite]:
        """All candidates of a query with more matches."""
        if self.scorer is None:
            return []

        def also(term: str) -> list[tuple[str, float]]:
            accepted = synonyms.also.get(term, ())
            return [*self.near.get(term, ()), *((synonym, 1.0) for synonym in accepted)]

        candidates, features = checked(key, matcher, also)
        confidences = 1.0 / (1.0 + np.exp(-np.clip(self.scorer.log_odds(features), -30.0, 30.0)))
        return [
            Rewrite(candidate.text, candidate.kind, confidence)
            for candidate, confidence in zip(candidates, confidences.tolist(), strict=True)
        ]

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """See ``Artefact``."""
        if values["scorer"] is not None:
            values["scorer"].require_names(FEATURES)
        return cls(**values)


WITHIN_S = 1_800.0
"""Seconds within which a next search is a reformulation."""

_PRIOR_PEOPLE = 2.0
"""Smoothing of the share of a reformulation: pseudo-count of people who gave up."""


def find_reformulations(
    searches: Sequence[Search], min_people: int
) -> Mapping[str, Sequence[Rewrite]]:
    """Normal form of a search without success -> its reformulations, those of most people first.

    Each is in its most frequent spelling, and its confidence is the share of these people among all
    who chose nothing before, in (0, 1). Searches come by time; generated visitor ids are nobody.
    """
    private = private_keys(search.text for search in searches)
    known = count_people(search.user_id for search in searches)
    gave_up: dict[str, set[str]] = defaultdict(set)
    people: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    last: dict[str, Search] = {}
    for search in searches:
        spellings[search.key][search.text.strip()] += 1
        if search.user_id not in known:
            continue
        before = last.get(search.user_id)
        last[search.user_id] = search
        if not len(search.chosen):
            gave_up[search.key].add(search.user_id)
        elif before is not None and search.timestamp - before.timestamp <= WITHIN_S:
            goes_on = search.key.startswith(before.key)
            if not goes_on and not len(before.chosen):
                people[before.key][search.key].add(search.user_id)
    found = {}
    for key in sorted(people.keys() - private):
        num_gave_up = len(gave_up[key]) + _PRIOR_PEOPLE
        counts = {other: len(users) for other, users in people[key].items() if other not in private}
        ways = [
            Rewrite(most_frequent(spellings[other]), _kind_of(key, other), count / num_gave_up)
            for other, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
            if count >= min_people
        ]
        if ways:
            found[key] = ways
    return found


def _kind_of(key: str, other: str) -> RewriteKind:
    return "broader" if {*words(other)} < {*words(key)} else "substitute"
