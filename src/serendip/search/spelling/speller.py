"""Words of the catalogue, and the ones that a misspelt text was meant to have.

A word that was typed is weighed against the words that it may have been meant to be: how frequent
each is in the catalogue, how well it goes with the words beside it, how likely the slip between
them is. Against all of them stands that it was meant as it is - also where the catalogue lacks it,
if only the language has it. The share of the best reading in all of them is its confidence; where
other words of the text are known and none of them ever stands beside it, that is not much.

Only words of Latin letters are ever changed; a word with digits is a name or a number.

The numbers below were chosen by random search on one half of the queries of ``bench spelling``,
which reports the other half too; see docs/concepts/search.md.

Paper: Kernighan, Church and Gale 1990, "A Spelling Correction Program Based on a Noisy Channel
Model". Differs: neighbours in the text as context, a language beside the catalogue, no learning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from math import log10
from typing import NamedTuple

from serendip.data.text import normalise, words
from serendip.search.spelling.typos import EditIndex, log_typo_probability
from serendip.search.spelling.word_statistics import WordPairs

MIN_LENGTH = 3
MIN_LENGTH_TWO_EDITS = 8

SLIP = log10(0.03)
"""That a word is typed with a slip at all."""

FREQUENCY = 0.63
"""Power of the frequency in the catalogue: what all items have is not asked for as often."""

MIN_TOTAL = 100_000
"""Occurrences of words that a catalogue counts as having; in a small one everything is rare."""

NEW_WORD, NEW_LETTER = -4.6, -0.55
"""That a word is meant which neither the catalogue nor the language has, and per letter of it: the
longer, the fewer of what could be words are words."""

LANGUAGE = -0.3
"""That a word of the language is meant which no item has, beside its share of the language."""

KNOWN = 0.7
"""For a word that items have, against all that it might be misspelt for."""

TITLE = 0.3
"""For a single word that is the title of an item."""

STEADY = 140.0
"""Items in which a neighbour is taken to go with any word, before any are counted."""

WORST_CONTEXT = -0.6
"""At most this is lost by never standing beside a neighbour."""

PARTED = -4.0
"""That two words were typed as one."""

DOUBTFUL = 0.5
"""At most the confidence of a change that no known word of the text speaks for, or of an ending."""


@dataclass(frozen=True, slots=True)
class Correction:
    """How a text was probably meant.

    Args:
        text: normal form.
        confidence: of the least certain change, in [0, 1]; 1 where nothing is to change.
        rival: where nothing is to change, the likeliest normal form with another word for one that
            no item has; empty where there is none.
        rival_confidence: of that change, in [0, 1].
    """

    text: str
    confidence: float
    rival: str = ""
    rival_confidence: float = 0.0


class _Choice(NamedTuple):
    """One thing that a word may mean; greater is better."""

    score: float
    text: str


class _Change(NamedTuple):
    """The likeliest thing but itself that a word may mean; greater is more certain.

    Args:
        confidence: its share in all readings of the word.
        text: what was meant.
        is_meant: whether it is likelier than the word as it was typed.
    """

    confidence: float
    text: str
    is_meant: bool


@dataclass(frozen=True, eq=False)
class Speller:
    """Corrects words against the catalogue's own vocabulary.

    Args:
        counts: word -> number of items that have it.
        edits: the words, ready for near look-ups.
        pairs: which words stand beside which.
        language: word of the language -> its share in (0, 1).
        titles: normal forms of titles.
        posted: words that came with items posted later; known, never proposed.
    """

    counts: Mapping[str, int]
    edits: EditIndex
    pairs: WordPairs
    language: Mapping[str, float]
    titles: frozenset[str]
    posted: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(
        cls,
        counts: Mapping[str, int],
        pairs: WordPairs | None = None,
        language: Mapping[str, float] | None = None,
        titles: Iterable[str] = (),
    ) -> Speller:
        """Build from word counts; whatever else is left out is not known."""
        pairs = WordPairs.none() if pairs is None else pairs
        return cls(counts, EditIndex(counts), pairs, language or {}, frozenset(titles))

    def with_words(self, found: Iterable[str]) -> Speller:
        """A copy that also knows these words."""
        return replace(self, posted=self.posted.union(found))

    def knows(self, word: str) -> bool:
        """True where an item has the word."""
        return word in self.counts or word in self.posted

    def is_plausible(self, normal: str) -> bool:
        """True where a normalised text needs no explanation.

        That is: one word of the catalogue or the language, or words that stand beside each other
        in items just as they do here.
        """
        typed = words(normal)
        if len(typed) == 1:
            return self.knows(normal) or normal in self.language
        return all(self.pairs.count(left, right) > 0 for left, right in pairwise(typed))

    def corrected(self, text: str) -> str:
        """The normal form of ``text`` as it was most probably meant, however probable that is."""
        return self.spelled(normalise(text)).text

    def spelled(self, normal: str) -> Correction:
        """What a normalised text was most probably meant to be, word by word."""
        plain = words(normal)
        typed = ["", *plain, ""]
        changes = [
            self._change(word, before, after)
            for before, word, after in zip(typed, typed[1:], typed[2:], strict=False)
        ]
        found = {place: change for place, change in enumerate(changes) if change}
        made = {place: change for place, change in found.items() if change.is_meant}
        if made:
            certain = (self._certainty(change, plain, place) for place, change in made.items())
            return Correction(_with(plain, made), min(certain))
        if not found:
            return Correction(" ".join(plain), 1.0)
        rival, place = max((change, place) for place, change in found.items())
        return Correction(" ".join(plain), 1.0, _with(plain, {place: rival}), rival.confidence)

    @cached_property
    def _total(self) -> int:
        """Occurrences of all words, each once per item."""
        return max(sum(self.counts.values()), MIN_TOTAL)

    def _change(self, word: str, before: str, after: str) -> _Change | None:
        """What else a word between two others may mean.

        None where nothing else is near, or nothing likelier than a word that items have.
        """
        is_latin = word.isascii() and word.isalpha()
        if not is_latin or len(word) < MIN_LENGTH or word in self.posted:
            return None
        others = [*self._near(word, before, after), *self._parted(word)]
        if not others:
            return None
        kept, best = self._as_typed(word, before, after), max(others)
        if best.score <= kept and word in self.counts:
            return None
        whole = 10.0**kept + sum(10.0**other.score for other in others)
        return _Change(10.0**best.score / whole, best.text, best.score > kept)

    def _certainty(self, change: _Change, typed: Sequence[str], place: int) -> float:
        """The confidence of a change, less where other words of the text leave it in doubt.

        That is: none of those that are known ever stands beside it, or it only has another ending.
        Two words that were typed as one stand beside each other.
        """
        meant = change.text
        known = self.pairs.numbers
        others = [word for at, word in enumerate(typed) if at != place and word in known]
        if not others or " " in meant:
            return change.confidence
        count = self.pairs.count
        is_likely = any(count(other, meant) or count(meant, other) for other in others)
        if is_likely and not _differ_by_ending(typed[place], meant):
            return change.confidence
        return min(change.confidence, DOUBTFUL)

    def _as_typed(self, word: str, before: str, after: str) -> float:
        """log10 of the probability that a word was meant as it is."""
        if word in self.counts:
            return KNOWN + self._fit(word, before, after)
        new = NEW_WORD + NEW_LETTER * len(word)
        if word not in self.language:
            return new
        return max(new, LANGUAGE + log10(self.language[word]))

    def _near(self, word: str, before: str, after: str) -> Iterator[_Choice]:
        """Words of the catalogue one edit away, else two where the word is long and unknown."""
        near = self.edits.near(word, 1)
        if not near and len(word) >= MIN_LENGTH_TWO_EDITS and word not in self.counts:
            near = self.edits.near(word, 2)
        is_alone = not before and not after
        for distance, other in near:
            if other.isalpha():
                score = (
                    SLIP
                    + log_typo_probability(word, other, distance)
                    + self._fit(other, before, after)
                )
                yield _Choice(score + TITLE * (is_alone and other in self.titles), other)

    def _parted(self, word: str) -> Iterator[_Choice]:
        """Two words of the catalogue that stand beside each other there, and were typed as one."""
        if word in self.counts:
            return
        for cut in range(1, len(word)):
            count = self.pairs.count(word[:cut], word[cut:])
            if count:
                score = PARTED + FREQUENCY * log10(count / self._total)
                yield _Choice(score, f"{word[:cut]} {word[cut:]}")

    def _fit(self, word: str, before: str, after: str) -> float:
        """log10 of how probable a word of the catalogue is between two others, up to a constant."""
        share = self.counts[word] / self._total
        fit = FREQUENCY * log10(share)
        for neighbour, left, right in ((before, before, word), (after, word, after)):
            if neighbour in self.counts:
                expected = self.counts[neighbour] + STEADY
                found = self.pairs.count(left, right) / share + STEADY
                fit += max(WORST_CONTEXT, log10(found / expected))
        return fit


def _differ_by_ending(one: str, other: str) -> bool:
    """True for singular and plural, or a name and whose something is: both are written."""
    return f"{one}s" == other or f"{other}s" == one


def _with(typed: Sequence[str], changes: Mapping[int, _Change]) -> str:
    """A text with the changes at some places."""
    return " ".join(
        changes[place].text if place in changes else word for place, word in enumerate(typed)
    )
