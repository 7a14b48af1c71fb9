"""Look-up of texts by how they go on from one of their words: a suffix array of word starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.artefact import Artefact
from serendip.data.rows.strings import Strings
from serendip.data.text import rows_starting


@dataclass(frozen=True, slots=True, eq=False)
class WordStarts(Artefact):
    """The starts of all words of R texts, in the order of what follows in the text.

    Args:
        rows: (S,) int32 text of each start.
        offsets: (S,) int32 character of it at which the word begins.
    """

    texts: Strings
    rows: IntArray
    offsets: IntArray

    @classmethod
    def of(cls, texts: Strings) -> Self:
        """Sort the starts of the words of all texts."""
        starts = sorted(
            (text[at:], row, at)
            for row, text in enumerate(texts)
            for at in range(len(text))
            if not at or text[at - 1] == " "
        )
        rows, offsets = ([start[part] for start in starts] for part in (1, 2))
        return cls(texts, np.array(rows, np.int32), np.array(offsets, np.int32))

    def starting(self, prefix: str) -> tuple[IntArray, IntArray]:
        """Rows (P,) and offsets (P,) from which a text goes on with a prefix."""
        texts, rows, offsets = self.texts, self.rows.data, self.offsets.data

        def suffix(place: int) -> str:
            return texts[rows[place]][offsets[place] :]

        found = rows_starting(range(len(self.rows)), prefix, suffix)
        return self.rows[found], self.offsets[found]
