"""The retriever's item tower with its gate shut, as plain arrays: words and items that come later.

Shapes: N items, U new ones, E size of their vectors, C content size, L levels, K codes per level,
V rows of the table of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.dataset import AlignedProjection
from serendip.data.item_features import ItemFeatures, Tokens
from serendip.errors import DataError
from serendip.models.linalg import Sparse, content_neighbours, csr


@dataclass(frozen=True, slots=True, eq=False)
class ItemEncoderArrays:
    """The item tower with its gate shut, for words and for items that come after training.

    Plain arrays and not a graph: it is one product and L look-ups, and a second export would cost
    every training a second.

    Args:
        weight: (E, C) projection of content and of query vectors.
        bias: (E,).
        tables: (L, K, E) code embeddings; L = 0 where codes are not read.
        ids: (N, E) ids of the items seen in training, zeros for the others; (0, E) where ids are
            not lent.
        lending: (N, C) of the same items, to find who lends: content, aligned if it is anywhere.
        num_lenders: at most so many lend to an item.
        reads_content: whether items are made of content; queries always are.
        alignment: what aligns content before lenders are sought; None = content as it is.
        words_size: how many of the E, at the end, are a part of their own.
        token_table: (V, E) embeddings of words and attributes; None where they are not read.
    """

    weight: FloatArray
    bias: FloatArray
    tables: FloatArray
    ids: FloatArray
    lending: FloatArray
    num_lenders: int
    reads_content: bool = True
    alignment: AlignedProjection | None = None
    words_size: int = 0
    token_table: FloatArray | None = None

    @property
    def knows_new_items(self) -> bool:
        """False where an item is its id and nothing else."""
        return len(self.tables) > 0 or (self.reads_content and self.weight.shape[1] > 0)

    def project(self, content: FloatArray, tokens: Tokens | None = None) -> FloatArray:
        """Content or text vectors (U, C) and their tokens -> (U, E).

        Zeros, which say nothing, stay zeros; so do words that were never read.
        """
        known = (content != 0).any(1, keepdims=True)
        projected = (content @ self.weight.T + self.bias) * known
        if self.token_table is not None and tokens is not None:
            projected = projected + token_shares(tokens, len(self.token_table)) @ self.token_table
        return np.asarray(projected, dtype=np.float32)

    def encode(
        self, features: ItemFeatures | None, item_nums: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Vectors (U, E) of items without ids of their own, and their projected content (U, E).

        Args:
            features: of the items; None = nothing is known of them.
            item_nums: (U,) their numbers, of known items or beyond; none lends to itself.
        """
        if self.weight.shape[1] == 0 or features is None:
            content = np.zeros((len(item_nums), self.weight.shape[1]), np.float32)
            return self._encode(content, np.zeros((len(content), 0), np.int32), None, item_nums)
        levels = features.codes.shape[1] if len(self.tables) else 0
        if features.content.shape[1] != self.weight.shape[1] or levels != len(self.tables):
            raise DataError(
                f"features of shape {features.content.shape} with codes {features.codes.shape} "
                f"do not fit a retriever for content of size {self.weight.shape[1]} and "
                f"{len(self.tables)} levels.",
                "Encode new items as those it was trained on.",
            )
        if self.token_table is not None and features.tokens is None:
            raise DataError(
                f"{len(item_nums)} items without tokens for a retriever that reads them.",
                "Read their words and attributes as those it was trained on.",
            )
        return self._encode(features.content, features.codes, features.tokens, item_nums)

    def _encode(
        self, content: FloatArray, codes: IntArray, tokens: Tokens | None, item_nums: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """As ``encode``, from bare arrays (U, C), (U, L), tokens of U items, and (U,)."""
        projected = self.project(content, tokens)
        mixed = projected * np.float32(self.reads_content)
        for level, table in enumerate(self.tables):
            mixed += table[codes[:, level]]
        if len(self.ids):
            mixed += self._lenders(content, item_nums) @ self.ids
        parts = np.split(mixed, [mixed.shape[1] - self.words_size], axis=1)
        vectors = np.concatenate([_normalised(part) for part in parts if part.shape[1]], axis=1)
        return np.asarray(vectors, dtype=np.float32), projected

    def _lenders(self, content: FloatArray, item_nums: IntArray) -> Sparse:
        """(U, N) shares of those who lend to items of content (U, C), which may be known ones."""
        aligned = self.alignment.encode(content) if self.alignment else content
        return content_neighbours(aligned, item_nums, self.lending, self.num_lenders)


def token_shares(tokens: Tokens, buckets: int) -> Sparse:
    """(U, V) what each row of the table counts for in a text; see ``TokenBags.sums``."""
    counts = tokens.counts
    shares = np.repeat(counts, counts).astype(np.float32) ** -0.5
    return csr((shares, tokens.hashes % buckets, tokens.starts), (len(tokens), buckets))


def _normalised(vectors: FloatArray) -> FloatArray:
    """Layer norm of each row."""
    centred = vectors - vectors.mean(1, keepdims=True)
    spread = np.sqrt(centred.var(1, keepdims=True) + 1e-5)
    return np.asarray(centred / spread, np.float32)
