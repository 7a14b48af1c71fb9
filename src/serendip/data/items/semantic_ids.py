"""Semantic IDs: residual codebooks and assignment of codes to content vectors.

Fitting codebooks is in ``content``. Assignment with frozen codebooks is plain numpy and is here,
because serving needs it for items posted after training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.artefact import Artefact
from serendip.errors import DataError

ASSIGN_BLOCK = 1024  # vectors whose distances to 1,000 centroids fit the CPU cache


@dataclass(frozen=True, eq=False)
class Codebooks(Artefact):
    """Residual codebooks, coarse to fine.

    Args:
        centroids: (L, K, D) float32; level 0 is coarsest.
    """

    centroids: FloatArray

    @property
    def num_levels(self) -> int:
        """L."""
        return int(self.centroids.shape[0])

    @property
    def codebook_size(self) -> int:
        """K."""
        return int(self.centroids.shape[1])

    @cached_property
    def _levels(self) -> list[Level]:
        return [Level(centroids) for centroids in self.centroids]

    def assign(self, vectors: FloatArray) -> IntArray:
        """Quantise content (N, D) to codes (N, L) int32: nearest centroid of each residual.

        Raises:
            DataError: D differs from the codebooks' or a vector is not finite.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.centroids.shape[2]:
            raise DataError(
                f"vectors of shape {vectors.shape} do not fit codebooks of size "
                f"{self.centroids.shape[2]}.",
                "Encode them with the encoder the codebooks were fitted on.",
            )
        codes = np.empty((len(vectors), self.num_levels), dtype=np.int32)
        for rows in _blocks(len(vectors)):
            residual = np.array(vectors[rows], dtype=np.float32, order="C")
            if not np.isfinite(residual).all():
                raise DataError("a content vector has a value that is not finite.")
            for number, level in enumerate(self._levels):
                codes[rows, number] = level.quantise(residual)
        return codes


def first_codes(codes: IntArray) -> IntArray:
    """(N,) int32 coarsest code of items with codes (N, L): their category; all 0 without levels."""
    found: IntArray = codes[:, 0] if codes.shape[1] else np.zeros(len(codes), np.int32)
    return found


class Level:
    """Centroids (K, D) of one level of the codebooks, prepared for nearest-centroid look-ups."""

    def __init__(self, centroids: FloatArray) -> None:
        self.centroids = centroids
        self._minus_twice = np.ascontiguousarray(-2.0 * centroids.T)
        self._lengths = (centroids**2).sum(1)

    def quantise(self, residual: FloatArray) -> IntArray:
        """Nearest centroids (N,) int32 of vectors (N, D); subtracts them from ``residual``."""
        codes = np.empty(len(residual), dtype=np.int32)
        for rows in _blocks(len(residual)):
            distance = residual[rows] @ self._minus_twice
            distance += self._lengths
            codes[rows] = distance.argmin(1)
            residual[rows] -= self.centroids[codes[rows]]
        return codes


def _blocks(count: int) -> Iterator[slice]:
    for begin in range(0, count, ASSIGN_BLOCK):
        yield slice(begin, begin + ASSIGN_BLOCK)


def common_prefix(left: IntArray, right: IntArray) -> IntArray:
    """Number of leading levels on which codes (..., L) agree; shapes broadcast."""
    shape = np.broadcast_shapes(left.shape, right.shape)
    agree, length = np.ones(shape[:-1], np.bool_), np.zeros(shape[:-1], np.int32)
    for level in range(shape[-1]):
        agree &= left[..., level] == right[..., level]
        length += agree
    return length


def code_name(codes: IntArray | Sequence[int]) -> str:
    """Format a semantic ID for people: ``12-7-201``."""
    return "-".join(str(int(code)) for code in codes)
