"""Query rewrites to offer for queries with few results: what people searched next, and less text.

A broader text drops one or two terms. It must have more matches than the query: more items with all
of its words. It must also have an item among its first ten that the query itself finds there, so
that both are about the same kind of item, and it may neither begin nor end with a function word.
Its confidence is the share that it keeps of the inverse document frequency (IDF) of the query's
words, those aside that no item has. Rewrites are offered; no query is replaced by one.

What people searched next is the next search of the same person, within half an hour, of which
something was chosen, after one of which nothing was. A text that only goes on from the one before
it is none, and private texts are left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import log
from typing import Literal, Self, TypeAlias

from serendip.data import Artefact, normalise, title_key, words
from serendip.data.events.search_log import Search
from serendip.data.privacy import count_people, private_keys
from serendip.data.text import NEGATIONS
from serendip.search.language import ENGLISH, most_frequent
from serendip.search.lexical import LexicalIndex
from serendip.search.titles import TitleIndex

RewriteKind: TypeAlias = Literal["broader", "substitute"]

FEW = 3
"""A query is answered if at least this many items have all of its words."""

OFFER_FROM, LEAST_KEPT = 0.5, 0.85
"""Least confidence of what people searched next, and of a broader text, that is offered."""

MOST = 3
"""Largest number of rewrites that are offered."""

TOP = 10
_MOST_COUNTED = 100
_MOST_PARTS = 10
_MOST_PAIRED = 6


@dataclass(frozen=True, slots=True)
class Rewrite(Artefact):
    """A text to search instead.

    Args:
        text: the text, as it is shown.
        kind: ``broader`` = it drops words; ``substitute`` = another text.
        confidence: of people who searched it next, the share among all who gave up; of a broader
            text, the share of the query's IDF that it keeps.
    """

    text: str
    kind: RewriteKind
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class CatalogueMatcher:
    """Counts matches of queries in the catalogue, and of words."""

    lexical: LexicalIndex
    counts: Mapping[str, int]
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

    def idf(self, some: Sequence[str]) -> float:
        """Sum of the inverse document frequencies of the words that an item has."""
        counts, total = self.counts, self.lexical.statistics.num_documents + 1
        return sum(log(total / counts[word]) for word in some if word in counts)

    def broaden(self, normal: str) -> Iterator[Rewrite]:
        """Broader texts that find more than a normalised one, of the same kind."""
        now, first, whole = self.matches(normal), self.first(normal), self.idf(words(normal))
        for text in broader_texts(normal):
            if self.matches(text) > now and not first.isdisjoint(self.first(text)):
                yield Rewrite(text, "broader", self.idf(words(text)) / max(whole, 1e-9))


def broader_texts(normal: str) -> list[str]:
    """A normalised text without one or two of its parts.

    A part is a word, or a word with the negation before it ("without"), which must not be dropped
    alone. Two parts are dropped only from texts of three to six.
    """
    parts: list[str] = []
    for word in words(normal):
        if parts and parts[-1] in NEGATIONS:
            parts[-1] = f"{parts[-1]} {word}"
        else:
            parts.append(word)
    if not 1 < len(parts) <= _MOST_PARTS:
        return []
    sizes = (1, 2) if 2 < len(parts) <= _MOST_PAIRED else (1,)
    texts = (" ".join(left) for size in sizes for left in combinations(parts, len(parts) - size))
    return list(dict.fromkeys(filter(_is_whole, texts)))


def _is_whole(text: str) -> bool:
    left = words(text)
    return not (left[0] in ENGLISH or left[-1] in ENGLISH or left[-1] in NEGATIONS)


@dataclass(frozen=True, slots=True, eq=False)
class RewriteTable(Artefact):
    """What people searched next, by the normal form of a query."""

    head: Mapping[str, tuple[Rewrite, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        searches: Sequence[Search],
        matcher: CatalogueMatcher,
        min_people: int,
        is_safe: Callable[[str], bool],
    ) -> Self:
        """The table of a log, by time. What only adds words is left out: it finds less."""
        head = {
            key: tuple(
                way
                for way in ways
                if is_safe(way.text) and not {*words(key)} < {*words(normalise(way.text))}
            )
            for key, ways in find_reformulations(searches, min_people).items()
            if not matcher.is_answered(key)
        }
        return cls(head)

    def find(
        self, key: str, matcher: CatalogueMatcher, least_kept: float = LEAST_KEPT
    ) -> tuple[Rewrite, ...]:
        """Rewrites to offer for a normal form, people's first; none if it is answered."""
        if not key or matcher.is_answered(key):
            return ()
        broader = [one for one in matcher.broaden(key) if one.confidence >= least_kept]
        broader.sort(key=lambda one: (-one.confidence, one.text))
        people = (one for one in self.head.get(key, ()) if one.confidence >= OFFER_FROM)
        distinct: dict[str, Rewrite] = {}
        for rewrite in (*people, *broader):
            distinct.setdefault(title_key(rewrite.text), rewrite)
        return tuple(one for one in distinct.values() if matcher.matches(one.text))[:MOST]


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
