"""Semantic IDs by residual k-means: coarse groups first, then what is left over.

Level 0 clusters the vectors, level 1 what remains after subtracting their centroids, and so on
(residual quantisation as in Rajput et al. 2023, "Recommender Systems with Generative Retrieval",
arXiv:2305.05065; k-means instead of a trained autoencoder). Codes always come from
``Codebooks.assign``, so an item posted later gets the code that it would have got here.

Legend: N items, D vector size, L levels, K codes per level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.semantic_ids import Codebooks
from serendip.errors import DataError
from serendip.scale.options import TrainOptions
from serendip.scale.threads import num_threads

_SMALLEST_CODEBOOK, _LARGEST_CODEBOOK = 4, 256


class ResidualKMeansConfig(Config):
    """How many levels and codes."""

    num_levels: int = Field(default=3, ge=1, le=8)
    """L."""

    codebook_size: int | None = Field(default=None, ge=1, le=65_536)
    """K; None = about sqrt(N), a power of two from 4 to 256. Never more than N."""

    iterations: int = Field(default=20, ge=1)
    """k-means rounds per level."""


class ResidualKMeans:
    """Fits codebooks to vectors."""

    def __init__(self, config: ResidualKMeansConfig | None = None) -> None:
        self.config = config or ResidualKMeansConfig()

    def codebook_size(self, num_items: int) -> int:
        """K for a catalogue of N items."""
        if num_items < 2:
            return 1
        power = 2 ** round(math.log2(math.sqrt(num_items)))
        size = min(max(power, _SMALLEST_CODEBOOK), _LARGEST_CODEBOOK)
        return min(self.config.codebook_size or size, num_items)

    def fit(
        self, vectors: FloatArray, options: TrainOptions | None = None
    ) -> tuple[Codebooks, IntArray]:
        """Fit one codebook per level.

        Args:
            vectors: (N, D) float32; N may be 0 or 1, rows may be equal.
            options: seed and progress.

        Returns:
            the codebooks and the codes (N, L) of ``vectors``.

        Raises:
            DataError: vectors are not two-dimensional or not finite.
        """
        options = options or TrainOptions()
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise DataError(f"vectors of shape {vectors.shape} cannot be clustered: not finite.")
        num_levels, size = self.config.num_levels, self.codebook_size(len(vectors))
        centroids = np.zeros((num_levels, size, vectors.shape[1]), dtype=np.float32)
        residual = np.ascontiguousarray(vectors, dtype=np.float32)
        levels = options.progress.track(range(num_levels), "Semantic IDs", num_levels)
        for level in levels if len(vectors) else ():
            centroids[level] = self._centroids(residual, size, options.seed + level)
            codes = Codebooks(centroids[level : level + 1]).assign(residual)[:, 0]
            residual = residual - centroids[level][codes]
        codebooks = Codebooks(centroids)
        return codebooks, codebooks.assign(vectors)

    def _centroids(self, vectors: FloatArray, size: int, seed: int) -> FloatArray:
        distinct = np.unique(vectors, axis=0)
        if len(distinct) <= size:
            # Each distinct vector is its own centre; copies of the first are never assigned.
            filler = np.repeat(distinct[:1], size - len(distinct), axis=0)
            return np.concatenate([distinct, filler])
        import faiss

        faiss.omp_set_num_threads(num_threads())
        kmeans = faiss.Kmeans(
            vectors.shape[1],
            size,
            niter=self.config.iterations,
            seed=seed + 1,
            min_points_per_centroid=1,
        )
        kmeans.train(vectors)
        return np.asarray(kmeans.centroids, dtype=np.float32).reshape(size, -1)


@dataclass(frozen=True, slots=True)
class CodeQuality:
    """How well codes tell items apart and how evenly they are used.

    Args:
        num_items: N.
        collision_rate: share of items whose full code another item also has; in [0, 1].
        used: codes in use, per level.
        dead: codes that no item has, per level.
        perplexity: 2 ** entropy of the codes, per level; K = all used evenly, 1 = one for all.
    """

    num_items: int
    collision_rate: float
    used: tuple[int, ...]
    dead: tuple[int, ...]
    perplexity: tuple[float, ...]


def quality(codes: IntArray, codebook_size: int) -> CodeQuality:
    """Measure codes (N, L) with values in [0, codebook_size)."""
    num_items, num_levels = codes.shape
    if num_items == 0:
        return CodeQuality(0, 0.0, (0,) * num_levels, (codebook_size,) * num_levels, ())
    _, counts = np.unique(codes, axis=0, return_counts=True)
    used, perplexity = [], []
    for level in range(num_levels):
        share = np.bincount(codes[:, level], minlength=codebook_size) / num_items
        share = share[share > 0]
        used.append(len(share))
        perplexity.append(float(2.0 ** -(share * np.log2(share)).sum()))
    dead = tuple(codebook_size - count for count in used)
    collided = float(counts[counts > 1].sum() / num_items)
    return CodeQuality(num_items, collided, tuple(used), dead, tuple(perplexity))
