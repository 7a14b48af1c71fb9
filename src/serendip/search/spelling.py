"""Spelling correction by a noisy-channel model over the words of the catalogue.

A correction of a typed word is scored by its frequency in the catalogue, its fit to the
neighbouring words and the probability of the typo between the two. The alternative is that the word
was meant as typed, which is possible even if the catalogue lacks it, as long as the language has
it. The confidence of a correction is its share in the total probability; of a word that the
catalogue or the language has it is capped if the text has other known words and the correction
never occurs next to any of them. A string that neither has finds nothing: to correct it risks
little, unless it is beside a word, other than a function word, that the correction is never beside.

Only words of Latin letters and of Hangul are ever changed; a word with digits is a name or a
number. Hangul is compared letter by letter, not by syllables, and its typos are those of the keys
of the Korean layout. A word of which items have another form, by its stem, is known.

The constants below were chosen by random search on one half of the queries of ``bench spelling``,
which reports the other half too; see docs/concepts/search.md.

Paper: Kernighan, Church and Gale 1990, "A Spelling Correction Program Based on a Noisy Channel
Model". Differs: neighbouring words as context, a language model besides the catalogue, no learning.

**Statistics of words**: bigram counts of the catalogue and English word frequencies. ``WordPairs``
counts how often one word follows another, which distinguishes ``harry potter`` from ``harry
otter``. Each pair counts once per item, over title and body. The counts are one sorted array, read
by memory map: a look-up is a binary search, and opening costs nothing.

``english_word_frequencies`` has words that are not typos even if the catalogue lacks them. The
list is English, counted in books, and comes with the package ``symspellpy``, of which nothing else
is used. For other languages only the words of the catalogue are known.

**Typos**: log P(typed | meant), and an index of strings by edit distance. ``log_typo_probability``
gives common logarithms, conditional on one typo in the word. They are rounded guesses about typing:
a neighbouring key, two letters swapped, one doubled, one omitted; other letters are rarer, and the
first letter is more often right than the others.

``EditIndex`` finds strings within one or two edits of a query without comparing all of them. An
edit inserts, deletes or replaces a character or swaps two neighbours. One edit leaves the first or
the second half of the query intact (a swap across the middle is tried separately), so only strings
that share that half and have almost the same length are compared. Two edits leave the first, the
last or the middle third intact; the middle third is not looked up, so some pairs at distance two
are missed, by choice, for speed.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import distribution
from itertools import pairwise
from math import log10
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serendip.data import Artefact, IntArray, Strings, normalise, words
from serendip.data.rows.strings import StringIndex
from serendip.data.text import rows_starting
from serendip.search.documents import Document
from serendip.search.language import is_function_word, stem


class WordCounts(Mapping[str, int], Artefact):
    """Number of items (W,) that have each word, read by memory map; words are ascending."""

    __slots__ = ("counts", "index")

    def __init__(self, index: StringIndex, counts: IntArray) -> None:
        self.index, self.counts = index, counts

    def stored(self) -> dict[str, Any]:
        """The words and their counts."""
        return {"index": self.index, "counts": self.counts}

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> WordCounts:
        """Build from word counts."""
        words = sorted(counts)
        values = np.array([counts[word] for word in words], np.int32)
        return cls(StringIndex.of(Strings.of(words)), values)

    def __getitem__(self, word: str) -> int:
        return int(self.counts[self.index[word]])

    def __contains__(self, word: object) -> bool:
        return word in self.index

    def __iter__(self) -> Iterator[str]:
        return iter(self.index)

    def __len__(self) -> int:
        return len(self.index)

    def total(self) -> int:
        """Sum of all counts."""
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True, eq=False)
class WordPairs(Artefact):
    """Bigram counts of a catalogue.

    Args:
        numbers: word -> its number, from 0.
        table: (2, P) int64: ``left * len(numbers) + right`` in ascending order, and the number of
            items in which ``right`` follows ``left``.
    """

    numbers: Mapping[str, int]
    table: NDArray[np.int64]

    @classmethod
    def of(cls, documents: Iterable[Document], words: Iterable[str]) -> Self:
        """Count the pairs of all documents; ``words`` is their whole vocabulary."""
        numbers = {word: number for number, word in enumerate(words)}
        pairs = [np.empty(0, np.int64)]
        for document in documents:
            found = {
                numbers[left] * len(numbers) + numbers[right]
                for part in (document.title, document.body)
                for left, right in pairwise(part)
            }
            pairs.append(np.fromiter(found, np.int64, len(found)))
        keys, counts = np.unique(np.concatenate(pairs), return_counts=True)
        return cls(numbers, np.stack([keys, counts]))

    def count(self, left: str, right: str) -> int:
        """Items in which ``right`` follows ``left``."""
        first, second = self.numbers.get(left), self.numbers.get(right)
        if first is None or second is None:
            return 0
        key = first * len(self.numbers) + second
        column = int(np.searchsorted(self.table[0], key))
        exists = column < self.table.shape[1] and self.table[0, column] == key
        return int(self.table[1, column]) if exists else 0


_LIST = "symspellpy/frequency_dictionary_en_82_765.txt"


@cache
def english_word_frequencies() -> Mapping[str, float]:
    """Word -> relative frequency, in (0, 1); 82,000 words, read once in about 0.1 s."""
    path = Path(str(distribution("symspellpy").locate_file(_LIST)))
    cells = path.read_text(encoding="utf-8-sig").split()  # word, count, word, count ...
    counts = [float(count) for count in cells[1::2]]
    total = sum(counts)
    return dict(zip(cells[::2], [count / total for count in counts], strict=True))


_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_VOWELS = frozenset("aeiouy")

SWAPPED, DOUBLED, LEFT_OUT, NEXT_KEY, ADDED, OTHER = 0.2, 0.15, 0.25, 0.2, 0.1, 0.1
"""Shares of the kinds of typos."""

FIRST_LETTER = 0.5
"""Weight of a typo in the first letter, relative to any other position."""

PREFIXES = frozenset("aei")
PREFIXED = 0.05
"""Weight of one of these letters added in front, which often makes another word: ``asocial``."""

TWO_SLIPS = -6.0
"""log10 probability of any two typos."""


HANGUL = "hangul"

_JAMO = (
    "".join(map(chr, (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A8, 0x11C3)))),
    "r R s e E f a q Q t T d w W c z x v g "
    "k o i O j p u P h hk ho hl y n nj np nl b m ml l "
    "r R rt s sw sg e f fr fa fq ft fx fv fg a q qt t T d w c z x v g",
)
_KEY_OF_JAMO = dict(zip(map(ord, _JAMO[0]), _JAMO[1].lower().split(), strict=True))
"""Letter of Hangul -> its keys in the usual Korean layout, as letters of qwerty."""

_SYLLABLES = re.compile("[가-힣]+")


def is_hangul(word: str) -> bool:
    """Whether a word is of Hangul syllables."""
    return _SYLLABLES.fullmatch(word) is not None


def spell_out(word: str) -> str:
    """A word letter by letter: Hangul syllables as their letters (jamo)."""
    return unicodedata.normalize("NFD", word)


def keys_of(word: str) -> str:
    """The keys by which a word is typed; those of Hangul in the Korean layout."""
    return spell_out(word).translate(_KEY_OF_JAMO)


def log_typo_probability(typed: str, meant: str, distance: int) -> float:
    """log10 P(``typed`` | ``meant``, a typo) of the keys of two words, 1 or 2 edits apart."""
    if distance > 1:
        return TWO_SLIPS
    start, wrong, right = _difference(typed, meant)
    share = _share(typed, start, wrong, right)
    weight = 1.0 if start else FIRST_LETTER
    if not start and not right and wrong in PREFIXES:
        weight = PREFIXED
    return log10(share * weight / len(meant))


def _share(typed: str, start: int, wrong: str, right: str) -> float:
    """Probability of exactly this typo among all typos at this position."""
    if len(wrong) == len(right) == 2:
        return SWAPPED
    if not wrong:
        return LEFT_OUT
    around = typed[max(start - 1, 0) : start] + typed[start + 1 : start + 2]
    if not right:
        return DOUBLED if wrong in around else ADDED / 25
    if right in _near_keys().get(wrong, ""):
        return NEXT_KEY / len(_near_keys()[right])
    return OTHER / (5 if wrong in _VOWELS and right in _VOWELS else 25)


def _difference(typed: str, meant: str) -> tuple[int, str, str]:
    from rapidfuzz.distance import Postfix, Prefix

    start = Prefix.similarity(typed, meant)
    wrong, right = typed[start:], meant[start:]
    same = Postfix.similarity(wrong, right)
    return start, wrong[: len(wrong) - same], right[: len(right) - same]


@cache
def _near_keys() -> dict[str, str]:
    places = {
        letter: (column + row / 2, row)
        for row, letters in enumerate(_ROWS)
        for column, letter in enumerate(letters)
    }

    def are_beside(one: str, other: str) -> bool:
        (column, row), (other_column, other_row) = places[one], places[other]
        return one != other and abs(column - other_column) <= 1 and abs(row - other_row) <= 1

    return {
        letter: "".join(other for other in places if are_beside(letter, other)) for letter in places
    }


MAX_COMPARED = 20_000
_MOST_BYTES = 4  # of a letter, by which strings an edit away are longer or shorter


@dataclass(frozen=True, slots=True, eq=False)
class EditIndex(Artefact):
    """An immutable set of strings with look-up by edit distance.

    Args:
        strings: distinct, ascending; R of them.
        backward: (R,) int32 rows in the order of the reversed strings.
    """

    strings: Strings
    backward: IntArray

    @classmethod
    def of(cls, strings: Iterable[str]) -> Self:
        """Build from strings."""
        ordered = sorted(set(strings))
        backward = sorted(range(len(ordered)), key=lambda row: ordered[row][::-1])
        return cls(Strings.of(ordered), np.array(backward, np.int32))

    def near(self, query: str, distance: int) -> list[tuple[int, str]]:
        """(distance, string) of strings at 1 to ``distance`` (1 or 2) edits, nearest first.

        Compares at most 20,000 strings; in a large catalogue a short query may miss some.
        """
        from rapidfuzz.distance import OSA

        strings, part = self.strings, len(query) // (distance + 1)
        tail = query[len(query) - part :] if distance > 1 else query[part:]
        heads = rows_starting(strings, query[:part])
        tails = rows_starting(self.backward.data, tail[::-1], lambda row: strings[row][::-1])
        rows = np.append(np.arange(heads.start, heads.stop), self.backward[tails])
        longer = strings.starts[rows + 1] - strings.starts[rows] - len(query.encode())
        rows = rows[np.abs(longer) <= _MOST_BYTES * distance][:MAX_COMPARED]
        candidates = {*strings.take(rows.tolist()), *self._swap_middle(query)}
        measured = (
            (OSA.distance(query, candidate, score_cutoff=distance), candidate)
            for candidate in candidates
        )
        return sorted(pair for pair in measured if 0 < pair[0] <= distance)

    def _swap_middle(self, query: str) -> Iterator[str]:
        """The string that differs by a swap across the middle, which changes both halves."""
        middle = len(query) // 2
        swapped = f"{query[: middle - 1]}{query[middle : middle + 1]}{query[middle - 1 : middle]}"
        swapped += query[middle + 1 :]
        row = bisect_left(self.strings, swapped)
        if middle and row < len(self.strings) and self.strings[row] == swapped:
            yield swapped


MIN_LENGTH = 3
MIN_SYLLABLES = 2
MIN_LENGTH_TWO_EDITS = 8

ENGLISH = "english"
"""The language that there is a list of words of."""

# Scores are log10 probabilities.

SLIP = log10(0.03)
"""Prior of a typo in a word."""

FREQUENCY = 0.63
"""Exponent of the frequency in the catalogue: words of many items are not searched as often."""

MIN_TOTAL = 100_000
"""Minimum total of word occurrences, so that words of a small catalogue are not all rare."""

NEW_WORD, NEW_LETTER = -4.6, -0.55
"""Prior of a word that neither the catalogue nor the language has, and its change per letter: the
longer a string, the less likely it is a word."""

LANGUAGE = -0.3
"""Prior of a word of the language that no item has, added to its share in the language."""

KNOWN = 0.7
"""Bonus of a typed word that items have, against its corrections."""

TITLE = 0.3
"""Bonus of a single word that is the title of an item."""

STEADY = 140.0
"""Smoothing of word pairs: pseudo-count of items in which a neighbour occurs with any word."""

WORST_CONTEXT = -0.6
"""Largest penalty for never occurring next to a neighbour."""

PARTED = -4.0
"""Prior of two words typed as one."""

DOUBTFUL = 0.5
"""Confidence cap of a correction without support from known words, or of a changed ending."""


@dataclass(frozen=True, slots=True)
class Correction:
    """The probable intended text.

    Args:
        confidence: of the least certain change, in [0, 1]; 1 if nothing is changed.
        risks_little: whether only strings are changed that neither the catalogue nor the language
            has, and no word beside them speaks against it.
        rival: if nothing is changed, the likeliest normal form with a correction of a word that no
            item has; empty if there is none.
        rival_confidence: of that change, in [0, 1].
    """

    text: str
    confidence: float
    risks_little: bool = False
    rival: str = ""
    rival_confidence: float = 0.0


_Choice: TypeAlias = tuple[float, str]


class _Change(NamedTuple):
    """The best correction of a word by its share in the total probability; greater is more certain.

    It is meant if it is likelier than the word as typed.
    """

    confidence: float
    text: str
    is_meant: bool


@dataclass(frozen=True, eq=False)
class Speller:
    """Corrects words against the catalogue's own vocabulary.

    Args:
        hangul: the same of those in Hangul, spelt out.
        language: word of the language -> its relative frequency in (0, 1).
        known: words of generated texts and stems; known, but never proposed as corrections.
        posted: the same of late items, with their words.
        expanded: words that are searched by their synonyms, such as abbreviations.
    """

    counts: WordCounts
    edits: EditIndex
    hangul: EditIndex
    pairs: WordPairs
    language: Mapping[str, float]
    titles: Container[str]
    stemmed: str = ""
    known: Container[str] = frozenset()
    posted: frozenset[str] = frozenset()
    expanded: Container[str] = frozenset()

    def knows(self, word: str) -> bool:
        """True if an item has the word or another form of it, or its synonyms are searched."""
        return word in self.counts or word in self.expanded or self._is_known_beside(word)

    def _is_known_beside(self, word: str) -> bool:
        """Whether a generated text or a posted item has a word, or any item another form of it."""
        return self._is_noted(word) or self._is_noted(stem(word, self.stemmed))

    def _is_noted(self, string: str) -> bool:
        return string in self.known or string in self.posted

    def _is_other_form(self, word: str) -> bool:
        """Whether a word that no item of the catalogue has needs no correction.

        That is if it is known beside it. Where the language is known, it must have the word too:
        ``sories`` is no other form of ``sorry``.
        """
        if word in self.counts or not self._is_known_beside(word):
            return False
        has_list = self.stemmed == ENGLISH and bool(self.language) and word.isascii()
        return self._is_noted(word) or not has_list or word in self.language

    def is_plausible(self, normal: str) -> bool:
        """True if a normalised text needs no correction.

        That is one word of the catalogue or the language, or several words whose neighbouring pairs
        all occur in items.
        """
        typed = words(normal)
        if len(typed) == 1:
            return self._is_word(normal)
        return all(self.pairs.count(left, right) > 0 for left, right in pairwise(typed))

    def correct_text(self, text: str) -> str:
        """The most probable normal form of ``text``, whatever its confidence."""
        return self.correct(normalise(text)).text

    def correct_beginning(self, normal: str) -> str:
        """A normalised text with all words corrected but the last, which may go on."""
        before, _, last = normal.rpartition(" ")
        return f"{self.correct_text(before)} {last}".strip()

    def correct(self, normal: str) -> Correction:
        """Correct a normalised text word by word."""
        plain = words(normal)
        typed = ["", *plain, ""]
        changes = [
            self._change(word, before, after)
            for before, word, after in zip(typed, typed[1:], typed[2:], strict=False)
        ]
        possible = {position: change for position, change in enumerate(changes) if change}
        likely = {position: change for position, change in possible.items() if change.is_meant}
        if likely:
            places = [(change.text, plain, position) for position, change in likely.items()]
            confidences = (
                change.confidence
                if self._is_supported(*place)
                else min(change.confidence, DOUBTFUL)
                for change, place in zip(likely.values(), places, strict=True)
            )
            risks_little = all(self._risks_little(*place) for place in places)
            return Correction(_apply_changes(plain, likely), min(confidences), risks_little)
        if not possible:
            return Correction(" ".join(plain), 1.0)
        rival, position = max((change, position) for position, change in possible.items())
        changed = _apply_changes(plain, {position: rival})
        return Correction(" ".join(plain), 1.0, False, changed, rival.confidence)

    @cached_property
    def _total(self) -> int:
        return max(self.counts.total(), MIN_TOTAL)

    def _change(self, word: str, before: str, after: str) -> _Change | None:
        """The best correction of a word between two neighbours.

        None if there is none, or if items have the word and no correction is likelier.
        """
        if not _may_be_corrected(word) or self._is_other_form(word):
            return None
        others = [*self._split_words(word)]
        if word not in self.expanded:
            others += self._near_words(word, before, after)
        if not others:
            return None
        as_typed, (score, text) = self._score_as_typed(word, before, after), max(others)
        if score <= as_typed and word in self.counts:
            return None
        total = 10.0**as_typed + sum(10.0**other for other, _ in others)
        return _Change(10.0**score / total, text, score > as_typed)

    def _is_supported(self, meant: str, typed: Sequence[str], position: int) -> bool:
        """Whether the other words of a text support a change of the word at a position.

        They do not if the correction occurs next to none of the known ones, or only changes the
        ending. Two words that were typed as one support each other, and a string that is no word
        needs no support.
        """
        vocabulary = self.pairs.numbers
        others = [word for at, word in enumerate(typed) if at != position and word in vocabulary]
        if not others or " " in meant or not self._is_word(typed[position]):
            return True
        return not _differ_by_ending(typed[position], meant) and self._occurs_with(meant, others)

    def _risks_little(self, meant: str, typed: Sequence[str], position: int) -> bool:
        if self._is_word(typed[position]):
            return False
        beside = [*typed[max(position - 1, 0) : position], *typed[position + 1 : position + 2]]
        telling = [word for word in beside if not is_function_word(word, self.stemmed)]
        known = [word for word in telling if word in self.counts]
        return not known or " " in meant or self._occurs_with(meant, known)

    def _occurs_with(self, word: str, others: Sequence[str]) -> bool:
        count = self.pairs.count
        return any(count(other, word) or count(word, other) for other in others)

    def _is_word(self, typed: str) -> bool:
        return typed in self.counts or typed in self.language or self._is_other_form(typed)

    def _score_as_typed(self, word: str, before: str, after: str) -> float:
        if word in self.counts:
            return KNOWN + self._fit(word, before, after)
        new = NEW_WORD + NEW_LETTER * len(keys_of(word))
        if word not in self.language:
            return new
        return max(new, LANGUAGE + log10(self.language[word]))

    def _near_words(self, word: str, before: str, after: str) -> Iterator[_Choice]:
        # Two edits if the word is long and unknown.
        edits, typed = (self.hangul, spell_out(word)) if is_hangul(word) else (self.edits, word)
        near = edits.near(typed, 1)
        if not near and len(typed) >= MIN_LENGTH_TWO_EDITS and word not in self.counts:
            near = edits.near(typed, 2)
        is_alone = not before and not after
        for distance, spelt in near:
            other = unicodedata.normalize("NFC", spelt)
            if spelt.isalpha() and not is_function_word(other, self.stemmed):
                score = (
                    SLIP
                    + log_typo_probability(keys_of(word), keys_of(other), distance)
                    + self._fit(other, before, after)
                )
                yield score + TITLE * (is_alone and other in self.titles), other

    def _split_words(self, word: str) -> Iterator[_Choice]:
        if word in self.counts:
            return
        for cut in range(1, len(word)):
            count = self.pairs.count(word[:cut], word[cut:])
            if count:
                score = PARTED + FREQUENCY * log10(count / self._total)
                yield score, f"{word[:cut]} {word[cut:]}"

    def _fit(self, word: str, before: str, after: str) -> float:
        """Language model: log10 P(word between two neighbours), up to a constant."""
        share = self.counts[word] / self._total
        fit = FREQUENCY * log10(share)
        for neighbour, left, right in ((before, before, word), (after, word, after)):
            if neighbour in self.counts:
                expected = self.counts[neighbour] + STEADY
                observed = self.pairs.count(left, right) / share + STEADY
                fit += max(WORST_CONTEXT, log10(observed / expected))
        return fit


def _may_be_corrected(word: str) -> bool:
    if is_hangul(word):
        return len(word) >= MIN_SYLLABLES
    return word.isascii() and word.isalpha() and len(word) >= MIN_LENGTH


def _differ_by_ending(left: str, right: str) -> bool:
    return f"{left}s" == right or f"{right}s" == left


def _apply_changes(typed: Sequence[str], changes: Mapping[int, _Change]) -> str:
    return " ".join(
        changes[position].text if position in changes else word
        for position, word in enumerate(typed)
    )
