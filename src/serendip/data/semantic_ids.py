"""Semantic IDs as values: the codes of items and the codebooks that made them.

The algorithm that fits codebooks lives in ``content``; assigning a vector to frozen codebooks is
plain numpy and lives here, because serving needs it for items posted after training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Codebooks:
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

    def assign(self, vectors: FloatArray) -> IntArray:
        """Codes (N, L) int32 of vectors (N, D): nearest centroid of the residual, level by level.

        Raises:
            DataError: D differs from the codebooks' or a vector is not finite.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.centroids.shape[2]:
            raise DataError(
                f"vectors of shape {vectors.shape} do not fit codebooks of size "
                f"{self.centroids.shape[2]}.",
                "Encode them with the encoder the codebooks were fitted on.",
            )
        if not np.isfinite(vectors).all():
            raise DataError("a vector to be coded is not finite.")
        residual = vectors.astype(np.float32)
        codes = np.empty((len(vectors), self.num_levels), dtype=np.int32)
        for level, centroids in enumerate(self.centroids):
            distance = (centroids**2).sum(1)[None, :] - 2.0 * residual @ centroids.T
            codes[:, level] = distance.argmin(1)
            residual = residual - centroids[codes[:, level]]
        return codes


def common_prefix(left: IntArray, right: IntArray) -> IntArray:
    """Number of leading levels on which codes (..., L) agree; shapes broadcast."""
    agree: IntArray = np.cumprod(left == right, axis=-1, dtype=np.int32)
    return np.asarray(agree.sum(-1), dtype=np.int32)


def code_name(codes: IntArray) -> str:
    """How a semantic ID is written for people: ``12-7-201``."""
    return "-".join(str(int(code)) for code in codes)
