"""How often one word follows another: what tells ``harry potter`` from ``harry otter``.

Pairs are counted once per item, over titles and bodies. One sorted array holds them, read by memory
map: a look-up is a binary search, and opening costs nothing.

Words of a language: what is no slip although the catalogue lacks it.

The list is English, as counted in books, and comes with the package ``symspellpy``; nothing else of
that is used. Of other languages only the catalogue's own words are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serendip.search.documents import Document

_EMPTY = np.empty((2, 0), dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class WordPairs:
    """Neighbouring words of a catalogue.

    Args:
        numbers: word -> its number, from 0.
        table: (2, P) int64: ``left * len(numbers) + right`` in ascending order, and the number of
            items in which ``right`` follows ``left``.
    """

    numbers: Mapping[str, int]
    table: NDArray[np.int64]

    @classmethod
    def none(cls) -> WordPairs:
        """Where nothing is known of neighbours."""
        return cls({}, _EMPTY)

    @classmethod
    def of(cls, documents: Iterable[Document], words: Iterable[str]) -> WordPairs:
        """Count the pairs of all documents; ``words`` are all of theirs."""
        numbers = {word: number for number, word in enumerate(words)}
        found = [_pairs(document, numbers) for document in documents]
        if not found:
            return cls(numbers, _EMPTY)
        keys, counts = np.unique(np.concatenate(found), return_counts=True)
        return cls(numbers, np.stack([keys, counts.astype(np.int64)]))

    @classmethod
    def open(cls, path: Path, words: Iterable[str]) -> WordPairs:
        """Read what ``save`` wrote for the same words in the same order; none without the file.

        Generations of before had none.
        """
        if not path.is_file():
            return cls.none()
        numbers = {word: number for number, word in enumerate(words)}
        return cls(numbers, np.load(path, mmap_mode="r", allow_pickle=False))

    def save(self, path: Path) -> None:
        """Write the table into a new npy file."""
        np.save(path, self.table, allow_pickle=False)

    def count(self, left: str, right: str) -> int:
        """Items in which ``right`` follows ``left``."""
        first, second = self.numbers.get(left), self.numbers.get(right)
        if first is None or second is None:
            return 0
        key = first * len(self.numbers) + second
        place = int(np.searchsorted(self.table[0], key))
        is_there = place < self.table.shape[1] and self.table[0, place] == key
        return int(self.table[1, place]) if is_there else 0


def _pairs(document: Document, numbers: Mapping[str, int]) -> NDArray[np.int64]:
    """Different pairs of one document."""
    return np.unique(
        np.concatenate([_following(words, numbers) for words in (document.title, document.body)])
    )


def _following(words: Sequence[str], numbers: Mapping[str, int]) -> NDArray[np.int64]:
    row = np.fromiter((numbers[word] for word in words), np.int64, len(words))
    return row[:-1] * len(numbers) + row[1:]


_LIST = "symspellpy/frequency_dictionary_en_82_765.txt"


@cache
def english_word_frequencies() -> Mapping[str, float]:
    """Word -> share of all words, in (0, 1); 82,000 words, read once in about 0.1 s."""
    path = Path(str(distribution("symspellpy").locate_file(_LIST)))
    rows = (line.split() for line in path.read_text(encoding="utf-8-sig").splitlines())
    counts = {word: float(count) for word, count in rows}
    total = sum(counts.values())
    return {word: count / total for word, count in counts.items()}
