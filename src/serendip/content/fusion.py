"""Multimodal fusion: one vector per item from several modalities with equal energy.

Each modality is centred and projected (PCA, or PCA with whitening) as fitted on the items that have
it, then scaled so that its block has the same average energy as every other. The blocks are
concatenated and the row is normalised. A missing modality is a block of zeros, which after centring
means "no opinion", and False in the mask beside it.

With texts alone there is nothing to balance: the vectors are the text vectors, unchanged.

Shapes: N items, D size of a modality's vectors, P of its block, M modalities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray
from serendip.data.item_features import ModalityVectors
from serendip.data.numeric import unit
from serendip.errors import ArtefactError, DataError

TEXT = "text"

_NOISE = 1e-5
"""Components of unit vectors with a smaller standard deviation are rounding."""


class FusionConfig(Config):
    """How modalities become one vector; without images and sounds nothing is fused."""

    method: Literal["pca", "whiten"] = "pca"
    """``whiten`` also gives every component the same variance: fine differences count more."""

    size: int = Field(default=128, ge=1)
    """Components kept of each modality, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """How one modality enters the fused space.

    Args:
        mean: (D,) float32.
        weight: (D, P) float32, the projection and the scale.
    """

    mean: FloatArray
    weight: FloatArray

    def encode(self, encoded: ModalityVectors) -> FloatArray:
        """(N, P) float32; zeros where the modality is missing.

        Raises:
            DataError: vectors of another size than those it was fitted on.
        """
        if encoded.vectors.shape[1:] != self.mean.shape:
            raise DataError(
                f"vectors of shape {encoded.vectors.shape} do not fit a fusion of vectors of size "
                f"{len(self.mean)}.",
                "Encode with the encoder of the training, or run `serendip train`.",
            )
        block = (encoded.vectors - self.mean) @ self.weight
        return np.where(encoded.present[:, None], block, 0.0).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Fusion:
    """Frozen arrays that map vectors of each modality into the fused space.

    Args:
        blocks: modality -> its block, in the order of the fused vector; empty = texts as they are.
    """

    blocks: Mapping[str, Block] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the columns of the mask."""
        return tuple(self.blocks) or (TEXT,)

    @property
    def columns(self) -> tuple[slice, ...]:
        """Columns of each modality in the fused vectors; none where these are the text's own."""
        ends = np.cumsum([0, *(block.weight.shape[1] for block in self.blocks.values())]).tolist()
        return tuple(slice(begin, end) for begin, end in pairwise(ends))

    @classmethod
    def fit(cls, encoded: Mapping[str, ModalityVectors], config: FusionConfig) -> Self:
        """Fit every modality on the rows that have it.

        A modality that no item has, or that is the same for all, says nothing and is left out.
        """
        if set(encoded) == {TEXT}:
            return cls()
        fitted = {name: _fit(one, config) for name, one in encoded.items()}
        return cls({name: block for name, block in fitted.items() if block.weight.shape[1]})

    def encode(self, encoded: Mapping[str, ModalityVectors]) -> FloatArray:
        """Fused unit vectors (N, sum of P); zero where no modality is present.

        Args:
            encoded: one or more modalities of the same N items or queries; those not given are
                missing for all, so that words alone find items by their text block.

        Raises:
            DataError: no modality is given, or one does not fit.
        """
        if not encoded:
            raise DataError("nothing to fuse.", "Give at least one modality.")
        if not self.blocks:
            return encoded[TEXT].vectors
        count = len(next(iter(encoded.values())))
        parts = [
            block.encode(encoded[name])
            if name in encoded
            else np.zeros((count, block.weight.shape[1]), np.float32)
            for name, block in self.blocks.items()
        ]
        return unit(np.concatenate(parts, axis=1))

    def words_of(self, fused: FloatArray) -> FloatArray:
        """Fused rows (N, sum of P) with their text block alone, made unit.

        What words are compared with: beside whole rows, an item without a picture would be nearer
        to every query than one whose picture takes half of its row.
        """
        if not self.blocks:
            return fused
        words = np.zeros(fused.shape, dtype=np.float32)
        for name, columns in zip(self.blocks, self.columns, strict=True):
            if name == TEXT:
                words[:, columns] = fused[:, columns]
        return unit(words)

    def present(self, encoded: Mapping[str, ModalityVectors]) -> BoolArray:
        """Mask (N, M) of what ``encode`` read, columns as ``modalities``."""
        nothing = np.zeros(len(next(iter(encoded.values()))), dtype=np.bool_)
        columns = [encoded[n].present if n in encoded else nothing for n in self.modalities]
        return np.stack(columns, axis=1)

    def save(self, path: Path) -> None:
        """Write the arrays as safetensors."""
        from safetensors.numpy import save_file

        arrays = {}
        for place, (name, block) in enumerate(self.blocks.items()):
            arrays[f"{place}.{name}.mean"] = np.ascontiguousarray(block.mean)
            arrays[f"{place}.{name}.weight"] = np.ascontiguousarray(block.weight)
        save_file(arrays, path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtefactError: the file holds no fusion.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            arrays = load_file(path)
            names = sorted({key.rsplit(".", 1)[0] for key in arrays}, key=_place_of)
            return cls(
                {
                    name.split(".", 1)[1]: Block(arrays[f"{name}.mean"], arrays[f"{name}.weight"])
                    for name in names
                }
            )
        except (OSError, SafetensorError, KeyError, ValueError, IndexError) as error:
            raise ArtefactError(f"{path} holds no readable fusion: {error}.") from None


TEXT_ONLY = Fusion()
"""Fused vectors are the text vectors."""


def _place_of(name: str) -> int:
    return int(name.split(".", 1)[0])


def _fit(encoded: ModalityVectors, config: FusionConfig) -> Block:
    """The block of one modality; of no columns where its vectors do not differ."""
    vectors = encoded.vectors[encoded.present].astype(np.float64)
    size = encoded.vectors.shape[1]
    if not len(vectors):
        return Block(np.zeros(size, np.float32), np.zeros((size, 0), np.float32))
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    variances, axes = np.linalg.eigh(centred.T @ centred / len(vectors))
    variances, axes = variances[::-1][: config.size], axes[:, ::-1][:, : config.size]
    kept = variances > _NOISE**2
    variances, axes = variances[kept], axes[:, kept]
    # The sign of an axis is arbitrary; its largest entry decides, so that machines agree.
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    if config.method == "whiten":
        axes, variances = axes / np.sqrt(variances), np.ones_like(variances)
    weight = axes / np.sqrt(variances.sum()) if len(variances) else axes
    return Block(mean.astype(np.float32), weight.astype(np.float32))
