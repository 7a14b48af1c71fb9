"""Semantic IDs by residual k-means.

Level 0 clusters the vectors, level 1 the residuals after subtracting their centroids, and so on
(residual quantisation as in Rajput et al. 2023, "Recommender Systems with Generative Retrieval",
arXiv:2305.05065; difference: k-means instead of a trained autoencoder). One level of about 1,000
codes is plain k-means (Pan et al. 2024, "A Multi-modal Modeling Framework for Cold-start
Short-video Recommendation", doi:10.1145/3640457.3688098). New items get their codes from
``Codebooks.assign``, by the same rule as the items here.

Codebooks are fitted to a sample of the items (``_SAMPLE_PER_CODE`` per code).

Shapes: N items, S items of the sample, D vector size, L levels, K codes per level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from serendip.config import Config
from serendip.data import Codebooks, FloatArray, IntArray
from serendip.data.items.semantic_ids import Level
from serendip.errors import DataError
from serendip.runtime.progress import TrainOptions
from serendip.runtime.threads import num_threads

_MIN_NORM = 1e-4  # residuals with a smaller norm count as zero
_SAMPLE_PER_CODE = 256  # vectors that codebooks are fitted to; faiss uses no more of them, either
_ITERATIONS = 20  # of k-means per level
_MIN_CODEBOOK, _MAX_CODEBOOK = 4, 256


class ResidualKMeansConfig(Config):
    """Clustering of semantic IDs: levels and codes per level."""

    num_levels: int = Field(default=3, ge=1, le=8)
    """L, levels of residual k-means; 1 = plain k-means."""

    codebook_size: int | None = Field(default=None, ge=1, le=65_536)
    """K, codes per level, at most N; None = about sqrt(N), a power of two from 4 to 256."""


def choose_codebook_size(config: ResidualKMeansConfig, num_items: int) -> int:
    """K for a catalogue of N items."""
    if num_items < 2:
        return 1
    size = 2 ** round(math.log2(math.sqrt(num_items)))
    size = min(max(size, _MIN_CODEBOOK), _MAX_CODEBOOK)
    return min(config.codebook_size or size, num_items)


def fit_codebooks(
    vectors: FloatArray,
    config: ResidualKMeansConfig | None = None,
    options: TrainOptions | None = None,
    start: Codebooks | None = None,
) -> tuple[Codebooks, IntArray]:
    """Fit one codebook per level to a sample of the vectors, and assign codes to all of them.

    Args:
        vectors: (N, D) float32; N may be 0 or 1, rows may be equal.
        config: levels and codes.
        options: seed and progress.
        start: previous codebooks from whose centroids k-means starts if L, K and D are the same, so
            that most codes stay the same; None = random start.

    Returns:
        the codebooks and the codes (N, L) of ``vectors``.

    Raises:
        DataError: vectors are not two-dimensional or not finite.
    """
    config, options = config or ResidualKMeansConfig(), options or TrainOptions()
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise DataError(
            f"vectors of shape {vectors.shape} cannot be clustered: not finite, or not (N, D).",
            "Check the encoder of the vectors.",
        )
    size, count = choose_codebook_size(config, len(vectors)), config.num_levels
    centroids = np.zeros((count, size, vectors.shape[1]), dtype=np.float32)
    residual = _draw_sample(vectors, _SAMPLE_PER_CODE * size, options.seed)  # (S, D)
    levels = options.progress.track(range(count), "Semantic IDs", count)
    for level in levels if len(vectors) else ():
        initial = None
        if start is not None and start.centroids.shape == centroids.shape:
            initial = np.ascontiguousarray(start.centroids[level])
        centroids[level] = _fit_centroids(residual, size, options.seed + level, initial)
        # ``quantise`` subtracts the assigned centroids from the residual in place.
        Level(centroids[level]).quantise(residual)
    codebooks = Codebooks(centroids)
    return codebooks, codebooks.assign(vectors)


def _fit_centroids(
    vectors: FloatArray, size: int, seed: int, start: FloatArray | None
) -> FloatArray:
    distinct = _find_distinct(vectors, size)
    if distinct is not None:
        # Each distinct vector is a centroid; copies of the first are never assigned.
        padding = np.repeat(distinct[:1], size - len(distinct), axis=0)
        return np.concatenate([distinct, padding])
    import faiss

    faiss.omp_set_num_threads(num_threads())
    kmeans = faiss.Kmeans(
        vectors.shape[1], size, niter=_ITERATIONS, seed=seed + 1, min_points_per_centroid=1
    )
    kmeans.train(_drop_zeros(vectors, size), init_centroids=start)
    return np.asarray(kmeans.centroids, dtype=np.float32).reshape(size, -1)


def _draw_sample(vectors: FloatArray, most: int, seed: int) -> FloatArray:
    """A copy (S, D) of up to ``most`` rows, in their order; of all rows if there are no more."""
    if len(vectors) <= most:
        return np.array(vectors, dtype=np.float32, order="C")
    rows = np.random.default_rng(seed).choice(len(vectors), most, replace=False)
    rows.sort()
    return np.ascontiguousarray(vectors[rows], dtype=np.float32)


def _drop_zeros(vectors: FloatArray, min_rows: int) -> FloatArray:
    """Drop the rows that are zero, unless fewer than ``min_rows`` would be left.

    An item alone in its cluster leaves a residual of zero. A centroid that starts there is nearer
    to all residuals than they are to each other, and would get nearly all of them.
    """
    rows = np.linalg.norm(vectors, axis=1) > _MIN_NORM
    return np.ascontiguousarray(vectors[rows]) if rows.sum() >= min_rows else vectors


def _find_distinct(vectors: FloatArray, limit: int) -> FloatArray | None:
    """Find the distinct rows in order of appearance; None if there are more than ``limit``.

    Stops when the limit is exceeded: in most catalogues after a few hundred rows.
    """
    first_rows: dict[bytes, int] = {}
    for number, row in enumerate(vectors):
        first_rows.setdefault((row + 0.0).tobytes(), number)  # -0.0 + 0.0 = 0.0
        if len(first_rows) > limit:
            return None
    return vectors[list(first_rows.values())]


@dataclass(frozen=True, slots=True)
class CodeQuality:
    """Collisions of semantic IDs and evenness of their codes.

    Args:
        num_items: N.
        collision_rate: share of items that share their full code with another item; in [0, 1].
        used: codes in use, per level.
        dead: codes that no item has, per level.
        perplexity: 2 ** entropy of the codes, per level; K = uniform, 1 = one code for all.
        largest: share of items with the most frequent code, per level; in [0, 1].
    """

    num_items: int
    collision_rate: float
    used: tuple[int, ...]
    dead: tuple[int, ...]
    perplexity: tuple[float, ...]
    largest: tuple[float, ...]


def measure_code_quality(codes: IntArray, codebook_size: int) -> CodeQuality:
    """Measure the quality of codes (N, L) with values in [0, codebook_size)."""
    num_items, num_levels = codes.shape
    if num_items == 0:
        return CodeQuality(0, 0.0, (0,) * num_levels, (codebook_size,) * num_levels, (), ())
    _, counts = np.unique(codes, axis=0, return_counts=True)
    used, perplexity, largest = [], [], []
    for level in range(num_levels):
        share = np.bincount(codes[:, level], minlength=codebook_size) / num_items  # (K,)
        share = share[share > 0]
        used.append(len(share))
        perplexity.append(float(2.0 ** -(share * np.log2(share)).sum()))
        largest.append(float(share.max()))
    dead = tuple(codebook_size - count for count in used)
    collided = float(counts[counts > 1].sum() / num_items)
    return CodeQuality(num_items, collided, tuple(used), dead, tuple(perplexity), tuple(largest))
