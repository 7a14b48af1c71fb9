"""Word statistics of the speller: bigram counts of the catalogue and English word frequencies.

``WordPairs`` counts how often one word follows another, which distinguishes ``harry potter`` from
``harry otter``. Each pair counts once per item, over title and body. The counts are one sorted
array, read by memory map: a look-up is a binary search, and opening costs nothing.

``english_word_frequencies`` has words that are not typos even if the catalogue lacks them. The
list is English, counted in books, and comes with the package ``symspellpy``, of which nothing else
is used. For other languages only the words of the catalogue are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import Artefact, IntArray
from serendip.data.rows.strings import StringIndex, Strings
from serendip.search.documents import Document


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
