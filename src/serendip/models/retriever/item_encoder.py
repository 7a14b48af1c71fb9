"""Item encoder of the retriever for serving: the item tower with ID gate 0, as plain arrays.

It encodes query texts, and items that are new or have changed since training.

Shapes: N items, U new or changed ones, E size of their vectors, C content size, L code levels, K
codes per level, V rows of the token table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from serendip.data import Artefact, BoolArray, FloatArray, IntArray, ItemFeatures, Tokens
from serendip.data.dataset import AlignedProjection
from serendip.data.rows.row_array import PackedRows, RowArray
from serendip.errors import DataError
from serendip.models.linalg import Sparse, sum_rows, to_csr
from serendip.models.sparse.content_neighbours import find_content_neighbours

NUM_ID_DONORS = 5
"""An item without a trained ID embedding, or with a hidden one, gets the mean one of so many
nearest items in content space, the ID donors."""

NEW_ITEM_BONUS = 0.25
"""Added to the scores of items without training events, which the network underrates because it has
memorised the others. Higher = more new items at the expense of the rest."""


@dataclass(frozen=True, slots=True, eq=False)
class ItemEncoderArrays(Artefact):
    """Item tower with ID gate 0, for query texts and for items that arrive after training.

    Arrays and not an ONNX graph: it is one matrix product and L look-ups, and a second export would
    add a second to every training.

    Args:
        weight: (E, C) projection of content and of query vectors.
        bias: (E,).
        tables: (L, K, E) code embeddings; L = 0 if codes are not used.
        ids: (N, E) ID embeddings of the items seen in training (the ID donors), zeros for others;
            (0, E) = no ID imputation.
        donor_content: (N, C) content of the items, aligned if there is an alignment; those of
            ``donors`` are read.
        reads_content: True if item vectors contain content; queries always do.
        alignment: aligns content before donors are searched; None = content as encoded.
        search_size: S, the last dimensions of the E that are normalised as a part of their own.
        token_table: (V, E) embeddings of words and attributes; None = tokens are not read.
        donors: (N,) bool, the items that are donors; None = all with content.
    """

    weight: FloatArray
    bias: FloatArray
    tables: FloatArray
    ids: FloatArray
    donor_content: FloatArray
    reads_content: bool = True
    alignment: AlignedProjection | None = None
    search_size: int = 0
    token_table: FloatArray | None = None
    donors: BoolArray | None = None

    def stored(self) -> dict[str, Any]:
        """Embeddings and content of donors are packed, unless the latter are aligned."""
        content: object = self.donor_content
        if not isinstance(content, RowArray):
            content = PackedRows.of(self.donor_content)
        return {**Artefact.stored(self), "ids": PackedRows.of(self.ids), "donor_content": content}

    @property
    def knows_new_items(self) -> bool:
        """False if an item vector is its ID embedding and nothing else."""
        return len(self.tables) > 0 or (self.reads_content and self.weight.shape[1] > 0)

    def project(self, content: FloatArray, tokens: Tokens) -> FloatArray:
        """Project content or text vectors (U, C) and their tokens -> (U, E).

        Rows of zeros (no content) stay zeros, and tokens without training add zeros.
        """
        has_content = (content != 0).any(1, keepdims=True)  # (U, 1)
        projected = (content @ self.weight.T + self.bias) * has_content  # (U, E)
        if self.token_table is not None:
            projected = projected + token_shares(tokens, len(self.token_table)) @ self.token_table
        return np.asarray(projected, dtype=np.float32)

    def encode(self, features: ItemFeatures, item_nums: IntArray) -> tuple[FloatArray, FloatArray]:
        """Encode items without their own ID: vectors (U, E) and projected content (U, E).

        Items (U,) may be beyond the trained ones; no item is its own donor.

        Raises:
            DataError: content or codes are not those that the retriever was trained on.
        """
        if self.weight.shape[1] == 0:
            nothing = np.zeros((len(item_nums), 0), np.float32)
            features = ItemFeatures(nothing, nothing.astype(np.int32), 1)
        levels = features.codes.shape[1] if len(self.tables) else 0
        if features.content.shape[1] != self.weight.shape[1] or levels != len(self.tables):
            raise DataError(
                f"features of shape {features.content.shape} with codes {features.codes.shape} "
                f"do not fit a retriever trained on content of size {self.weight.shape[1]} and "
                f"{len(self.tables)} code levels.",
                "Encode new items as the training items were encoded.",
            )
        codes = features.codes  # (U, L)
        projected = self.project(features.content, features.known_tokens)  # (U, E)
        mixed = projected * np.float32(self.reads_content)
        for level, table in enumerate(self.tables):
            mixed += table[codes[:, level]]
        if len(self.ids):
            mixed += sum_rows(self._donor_weights(features, item_nums), self.ids)
        parts = np.split(mixed, [mixed.shape[1] - self.search_size], axis=1)
        vectors = np.concatenate([_layer_norm(part) for part in parts if part.shape[1]], axis=1)
        return np.asarray(vectors, dtype=np.float32), projected

    def _donor_weights(self, features: ItemFeatures, item_nums: IntArray) -> Sparse:
        """Sparse weights (U, N) of the ID donors of items."""
        content = features.content
        aligned = self.alignment.encode(content) if self.alignment else content
        return find_content_neighbours(
            aligned,
            item_nums,
            self.donor_content,
            NUM_ID_DONORS,
            near=features.near,
            allowed=self.donors,
        )


def token_shares(tokens: Tokens, buckets: int) -> Sparse:
    """Sparse weights (U, V) of the table's rows in each text; see ``network.sum_tokens``."""
    shares = np.repeat(tokens.counts, tokens.counts).astype(np.float32) ** -0.5
    return to_csr((shares, tokens.buckets(buckets), tokens.starts), (len(tokens), buckets))


def _layer_norm(vectors: FloatArray) -> FloatArray:
    """Layer norm of each row, without learned scale and shift."""
    centred = vectors - vectors.mean(1, keepdims=True)
    spread = np.sqrt(centred.var(1, keepdims=True) + 1e-5)
    return np.asarray(centred / spread, np.float32)
