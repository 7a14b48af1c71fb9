"""Words of the catalogue, and the one that a misspelt word was meant to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from serendip.data.analysis import normalise, words
from serendip.search.edits import EditIndex

MIN_LENGTH_ONE_EDIT = 4
MIN_LENGTH_TWO_EDITS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Speller:
    """Corrects single words against the catalogue's own vocabulary.

    Args:
        counts: word -> number of items that have it.
        edits: the words, ready for near look-ups.
        posted: words that came with items posted later; known, never proposed.
    """

    counts: Mapping[str, int]
    edits: EditIndex
    posted: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> Speller:
        """Build from word counts."""
        return cls(counts, EditIndex(counts))

    def with_words(self, found: Iterable[str]) -> Speller:
        """A copy that also knows these words."""
        return Speller(self.counts, self.edits, self.posted.union(found))

    def knows(self, word: str) -> bool:
        """True where an item has the word."""
        return word in self.counts or word in self.posted

    def corrected(self, text: str) -> str:
        """The normal form of ``text`` with every unknown word replaced by the nearest known one.

        One edit for words of 4 letters or more, two for 8 or more; the more frequent word wins a
        tie. Words with digits and words without a near one stay.
        """
        return " ".join(self._word(word) for word in words(normalise(text)))

    def _word(self, word: str) -> str:
        if self.knows(word) or any(character.isdigit() for character in word):
            return word
        allowed = (len(word) >= MIN_LENGTH_ONE_EDIT) + (len(word) >= MIN_LENGTH_TWO_EDITS)
        for distance in range(1, allowed + 1):
            near = self.edits.near(word, distance)
            if near:
                return min(near, key=lambda pair: (pair[0], -self.counts[pair[1]], pair[1]))[1]
        return word
