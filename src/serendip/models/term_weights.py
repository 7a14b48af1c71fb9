"""TF-IDF weights of the words and attribute values of items, for exact likeness.

A content vector knows that two texts mean the same, not that two items have the same director. Here
tokens count by how rare they are (inverse document frequency, Sparck Jones 1972), and kinds of
tokens count alike: the values of each attribute are a vector of one length, so that a shared genre
adds to a shared director and is not lost beside it; the attributes of an item that has as many as
others have length 1, and so have the words of its texts. What most items have, such as a currency,
tells nothing.

Shapes: N items of the training, M items, V distinct tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray, locate
from serendip.data.artefact import Artefact
from serendip.data.items.features import TEXT, WORD_OF_VALUE, Tokens
from serendip.models.linalg import Sparse, to_csr

MOST_TERMS = 256
"""Terms of an item that count: those with the largest weights."""

_FEWEST = 2
"""Items that have a token; one that a single item has makes no two items alike."""

_MOST_WORDS, _MOST_VALUES = 0.2, 0.8
"""Shares of the items above which a word, and an attribute value, tell nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class TermWeights(Artefact):
    """Inverse document frequencies of tokens.

    Args:
        hashes: (V,) int64 tokens with their kinds, ascending.
        weights: (V,) float32.
        attributes: attributes that an item has, on average, at least 1.
    """

    hashes: NDArray[np.int64]
    weights: FloatArray
    attributes: float

    @classmethod
    def fit(cls, tokens: Tokens) -> Self:
        """Count the tokens of N items."""
        count = len(tokens)
        rows, hashes = _take_counted(tokens)
        kinds = _number_blocks(rows, hashes)[0][:, 1]  # (K,)
        hashes, items = np.unique(hashes, return_counts=True)
        most = count * np.where(hashes >> 32 == TEXT, _MOST_WORDS, _MOST_VALUES)
        counts = (items >= _FEWEST) & (items <= np.maximum(most, _FEWEST))
        weights = np.log((1.0 + count) / items[counts]).astype(np.float32)
        attributes = float((kinds != TEXT).sum()) / max(count, 1)
        return cls(hashes[counts], weights, max(attributes, 1.0))

    @property
    def count(self) -> int:
        """V."""
        return len(self.hashes)

    def build_rows(self, tokens: Tokens) -> Sparse:
        """Term vectors (M, V) of items: squared length 1 for words, about 1 for attributes."""
        rows, hashes = _take_counted(tokens)
        blocks, of_token = _number_blocks(rows, hashes)
        columns, is_known = locate(self.hashes, hashes)
        rows, columns, of_token = rows[is_known], columns[is_known], of_token[is_known]
        values = self.weights[columns]
        squares = np.bincount(of_token, values**2, len(blocks))
        squares = squares * np.where(blocks[:, 1] == TEXT, 1.0, self.attributes)
        values /= np.sqrt(squares[of_token]).astype(np.float32)
        order = np.lexsort((-values, rows))
        place = np.arange(len(order)) - np.searchsorted(rows[order], rows[order])
        kept = np.sort(order[place < MOST_TERMS])
        cells = (values[kept], (rows[kept], columns[kept]))
        matrix = to_csr(cells, (len(tokens), max(self.count, 1)))
        matrix.sort_indices()
        return matrix


def _take_counted(tokens: Tokens) -> tuple[IntArray, NDArray[np.int64]]:
    """Item and hash of each token, without words that only repeat attribute values."""
    rows = np.repeat(np.arange(len(tokens), dtype=np.int32), tokens.counts)
    counts = tokens.kinds != WORD_OF_VALUE
    return rows[counts], tokens.hashes[counts]


def _number_blocks(
    rows: IntArray, hashes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Blocks (K, 2), an item and a kind of its tokens each; and the block (T,) of each token."""
    keys = rows.astype(np.int64) << 32 | hashes >> 32
    blocks, of_token = np.unique(keys, return_inverse=True)
    return np.column_stack([blocks >> 32, blocks & 0xFFFFFFFF]), of_token.reshape(-1)
