"""How a text that few items answer could be asked instead: with fewer words, or with another one.

A change is only worth looking at where it finds more: more items have all words of the changed text
than of the text as it was. Fewer words must also lead to items that the text itself finds among its
first ten, so that they are of the same kind, and neither begin nor end with a word of grammar. What
a student is told of a change (``FEATURES``) is counted from the word index alone: the same offline
and in a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import log, log1p
from typing import Literal, TypeAlias

import numpy as np

from serendip.data.arrays import FloatArray
from serendip.data.text import NEGATIONS, normalise, words
from serendip.search.lexical import LexicalIndex
from serendip.search.phrases import is_grammar
from serendip.search.spelling.word_statistics import WordPairs
from serendip.search.titles import TitleIndex

RewriteKind: TypeAlias = Literal["narrower", "broader", "substitute"]

Also: TypeAlias = Callable[[str], Sequence[tuple[str, float]]]
"""Term -> other terms of its kind, each with how like it is, in [0, 1]."""

FEW = 3
"""A text is answered where so many items have all of its words."""

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
"""All in [0, 1]: the share of a text's rarity that is left, items with all words of the change, how
many of the first ten are the same, how like the other word is, shares of words that no item has,
where the change is, one over the words that are left, how many of these stand beside the one before
them in the catalogue, too, and items with all words of the text."""


@dataclass(frozen=True, slots=True)
class RewriteCandidate:
    """One other way to ask.

    Args:
        text: normal form of it.
        kind: ``broader`` or ``substitute``.
        gone: words of the text that it has not.
        likeness: of what stands there instead; 0 where nothing does.
        at_start, at_end: whether what is gone was the first or the last part.
    """

    text: str
    kind: RewriteKind
    gone: tuple[str, ...]
    likeness: float = 0.0
    at_start: bool = False
    at_end: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class CatalogueMatcher:
    """What the catalogue says of texts.

    Args:
        lexical: the word index.
        counts: word -> number of items that have it.
        pairs: which words stand beside which.
        titles: whole ones.
    """

    lexical: LexicalIndex
    counts: Mapping[str, int]
    pairs: WordPairs
    titles: TitleIndex

    def is_answered(self, key: str) -> bool:
        """Whether enough items have all words of a normal form, or a title goes on from it.

        Whoever types a title wants its item, and is not done typing before its end.
        """
        return self.matches(key) >= FEW or bool(self.titles.completions(key, 1))

    def matches(self, text: str) -> int:
        """Items that have all words of a text; 100 stands for more."""
        return len(self.lexical.having_all(normalise(text), _MOST_COUNTED))

    def first(self, normal: str) -> frozenset[int]:
        """The first ten items that words find."""
        return frozenset(self.lexical.search(normal, TOP).item_nums.tolist())

    def rarity(self, word: str) -> float:
        """How much a word says: the logarithm of all items over those that have it."""
        return log((self.lexical.statistics.num_documents + 1) / (self.counts.get(word, 0) + 1))


def changes(normal: str, also: Also) -> list[RewriteCandidate]:
    """All ways to leave out one part or two of a normalised text, or to put another term for one.

    A part is a word, or a word with the "without" before it, which alone would turn the meaning.
    Two parts are left out of texts of three to six.
    """
    parts = _parts(normal)
    if len(parts) > _MOST_PARTS:
        return []
    found: dict[str, RewriteCandidate] = {}
    for change in (*_fewer(parts), *_other(normal, also)):
        if change.text and change.text != normal:
            found.setdefault(change.text, change)
    return list(found.values())


def checked(
    normal: str, matcher: CatalogueMatcher, also: Also
) -> tuple[list[RewriteCandidate], FloatArray]:
    """Those that find more, and (R, F) what a student is told of them."""
    now, first = matcher.matches(normal), matcher.first(normal)
    kept: list[RewriteCandidate] = []
    rows: list[list[float]] = []
    for change in changes(normal, also):
        matches = matcher.matches(change.text)
        if matches <= now:
            continue
        overlap = len(first & matcher.first(change.text)) / TOP
        if change.kind == "substitute" or (overlap > 0 and _is_whole(change.text)):
            kept.append(change)
            rows.append([*_features(normal, change, matcher, matches, overlap), now / FEW])
    return kept, np.array(rows, np.float32).reshape(len(rows), len(FEATURES))


def _parts(normal: str) -> list[str]:
    """Words, each negation together with the word behind it."""
    found: list[str] = []
    for word in words(normal):
        if found and found[-1] in NEGATIONS:
            found[-1] = f"{found[-1]} {word}"
        else:
            found.append(word)
    return found


def _is_whole(text: str) -> bool:
    """Whether a text neither begins nor ends with a word that says nothing by itself.

    It may begin with a negation, if one word follows at least.
    """
    left = words(text)
    return not (is_grammar(left[0]) or is_grammar(left[-1]) or left[-1] in NEGATIONS)


def _fewer(parts: Sequence[str]) -> Iterator[RewriteCandidate]:
    sizes = (1, 2) if 2 < len(parts) <= _MOST_PAIRED else (1,)
    for size in sizes if len(parts) > 1 else ():
        for gone in combinations(range(len(parts)), size):
            left = " ".join(part for at, part in enumerate(parts) if at not in gone)
            dropped = tuple(word for at in gone for word in parts[at].split())
            ends = (0 in gone, len(parts) - 1 in gone)
            yield RewriteCandidate(left, "broader", dropped, 0.0, *ends)


def _other(normal: str, also: Also) -> Iterator[RewriteCandidate]:
    typed = words(normal)
    for size in range(1, _LONGEST_TERM + 1):
        for begin in range(len(typed) - size + 1):
            end = begin + size
            for other, likeness in also(" ".join(typed[begin:end])):
                text = " ".join((*typed[:begin], other, *typed[end:]))
                ends = (begin == 0, end == len(typed))
                yield RewriteCandidate(text, "substitute", tuple(typed[begin:end]), likeness, *ends)


def _features(
    normal: str, change: RewriteCandidate, matcher: CatalogueMatcher, matches: int, overlap: float
) -> list[float]:
    """As ``FEATURES`` names them, but for the last one."""
    left = words(change.text)
    whole = sum(matcher.rarity(word) for word in words(normal))
    gone = sum(matcher.rarity(word) for word in change.gone)
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
    ]
