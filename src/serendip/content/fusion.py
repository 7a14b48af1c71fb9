"""Multimodal fusion: one vector per item from several modalities with equal energy.

Each modality is centred and projected (PCA) as fitted on the items that have it, then scaled so
that its block has the same mean squared norm as every other. The blocks are concatenated and the
row is normalised. A missing modality is a block of zeros, which is the mean after centring, and
False in the mask.

With text as the only modality the vectors are the text vectors, unchanged: centred ones cost the
ranker a tenth of nDCG@10 on home (what compares items centres them: ``models.content_similarity``).
Queries are projected and not centred: the mean of item texts is not theirs.

Shapes: N items, D size of a modality's vectors, P of its block, M modalities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import numpy as np

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.artefact import Artefact
from serendip.data.items.features import ModalityVectors
from serendip.data.numeric import unit
from serendip.data.rows.row_array import dot_items
from serendip.errors import DataError

TEXT = "text"

_ROWS_AT_ONCE = 1 << 16

COMPONENTS = 128  # largest number of components of a modality
_NOISE = 1e-5  # components with a smaller deviation are rounding errors of unit vectors


@dataclass(frozen=True, slots=True, eq=False)
class Block(Artefact):
    """Affine map of one modality into its block of the fused space.

    Args:
        mean: (D,) float32; of items, not of queries.
        weight: (D, P) float32, projection and scale.
    """

    mean: FloatArray
    weight: FloatArray

    def encode(self, encoded: ModalityVectors, are_queries: bool = False) -> FloatArray:
        """Project vectors (N, D): block (N, P) float32, zeros where the modality is missing.

        Raises:
            DataError: the vectors are not of size D.
        """
        if encoded.vectors.shape[1:] != self.mean.shape:
            raise DataError(
                f"vectors of shape {encoded.vectors.shape} do not fit a fusion of vectors of size "
                f"{len(self.mean)}.",
                "Encode with the encoder of the training, or run `serendip train`.",
            )
        vectors = encoded.vectors if are_queries else encoded.vectors - self.mean  # (N, D)
        block = vectors @ self.weight  # (N, D) @ (D, P)
        return np.where(encoded.present[:, None], block, 0.0).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Fusion(Artefact):
    """Fitted fusion: the map of each modality into the fused space.

    Args:
        blocks: modality -> map, in the order of the fused vector; empty = text vectors unchanged.
    """

    blocks: Mapping[str, Block] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the M columns of the mask."""
        return tuple(self.blocks) or (TEXT,)

    @property
    def sizes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Name of each modality with the shape (D, P) of its map."""
        return [(name, block.weight.shape) for name, block in self.blocks.items()]

    @property
    def columns(self) -> tuple[slice, ...]:
        """Columns of each modality in the fused vectors."""
        ends = np.cumsum([0, *(block.weight.shape[1] for block in self.blocks.values())]).tolist()
        return tuple(slice(begin, end) for begin, end in pairwise(ends))

    def is_same(self, other: Fusion) -> bool:
        """Whether both map to the same vectors."""
        return self.sizes == other.sizes and all(
            np.array_equal(block.mean, other.blocks[name].mean)
            and np.array_equal(block.weight, other.blocks[name].weight)
            for name, block in self.blocks.items()
        )

    @classmethod
    def fit(cls, encoded: Mapping[str, ModalityVectors], size: int = COMPONENTS) -> Self:
        """Fit every modality on the rows that have it.

        A modality that no item has, or that is the same for all items, is left out.
        """
        if set(encoded) == {TEXT}:
            return cls()
        blocks = {name: _fit_block(vectors, size) for name, vectors in encoded.items()}
        return cls({name: block for name, block in blocks.items() if block.weight.shape[1]})

    def encode(
        self, encoded: Mapping[str, ModalityVectors], are_queries: bool = False
    ) -> FloatArray:
        """Fuse modalities into unit vectors (N, sum of P); zeros if no modality is present.

        They are of the same N items or queries; other modalities are missing for all, so that text
        queries match the text block of items. Queries are not centred.

        Raises:
            DataError: a modality has vectors of another size.
        """
        if not self.blocks:
            return encoded[TEXT].vectors
        count = len(next(iter(encoded.values())))
        width = sum(block.weight.shape[1] for block in self.blocks.values())
        fused = np.zeros((count, width), np.float32)  # (N, sum of P)
        # In parts, since a large catalogue fits into memory once, not four times.
        for begin in range(0, count, _ROWS_AT_ONCE):
            rows = slice(begin, begin + _ROWS_AT_ONCE)
            for (name, block), columns in zip(self.blocks.items(), self.columns, strict=True):
                if name in encoded:
                    fused[rows, columns] = block.encode(encoded[name].rows(rows), are_queries)
            fused[rows] = unit(fused[rows])
        return fused

    def compare_text(
        self, fused: FloatArray, items: IntArray, text_vector: FloatArray
    ) -> FloatArray:
        """Cosines (C,) of the text of items (C,), of fused rows (N, sum of P), with a query's."""
        if not self.blocks:
            return dot_items(fused, items, text_vector)
        return np.asarray(self.extract_text_part(fused[items]) @ text_vector, np.float32)

    def extract_text_part(self, fused: FloatArray) -> FloatArray:
        """Keep only the text block of fused rows (N, sum of P), and normalise them.

        Text queries are compared with these: compared with whole rows, an item without an image
        would be more similar to every query than one whose image block has half of the norm.
        """
        if not self.blocks:
            return fused
        text = np.zeros(fused.shape, dtype=np.float32)
        for name, columns in zip(self.blocks, self.columns, strict=True):
            if name == TEXT:
                text[:, columns] = fused[:, columns]
        return unit(text)

    def present(self, encoded: Mapping[str, ModalityVectors]) -> BoolArray:
        """Mask (N, M) of the modalities that items have, with columns as ``modalities``."""
        absent = np.zeros(len(next(iter(encoded.values()))), dtype=np.bool_)  # (N,)
        columns = [encoded[name].present if name in encoded else absent for name in self.modalities]
        return np.stack(columns, axis=1)


TEXT_ONLY = Fusion()  # leaves text vectors as they are


def _fit_block(encoded: ModalityVectors, components: int) -> Block:
    vectors = encoded.vectors[encoded.present].astype(np.float64)  # (present, D)
    size = encoded.vectors.shape[1]
    if not len(vectors):
        return Block(np.zeros(size, np.float32), np.zeros((size, 0), np.float32))
    mean = vectors.mean(axis=0)  # (D,)
    centred = vectors - mean
    variances, axes = np.linalg.eigh(centred.T @ centred / len(vectors))  # (D,), (D, D), ascending
    variances, axes = variances[::-1][:components], axes[:, ::-1][:, :components]
    is_signal = variances > _NOISE**2
    variances, axes = variances[is_signal], axes[:, is_signal]  # (P,), (D, P)
    # The sign of an eigenvector is arbitrary: make its largest entry positive on every machine.
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    # Mean squared norm 1 per block.
    weight = axes / np.sqrt(variances.sum()) if len(variances) else axes
    return Block(mean.astype(np.float32), weight.astype(np.float32))
