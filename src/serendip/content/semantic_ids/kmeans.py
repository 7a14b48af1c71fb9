"""Semantic IDs by k-means: one level of clusters, or coarse groups first, then what is left over.

Residual k-means: level 0 clusters the vectors, level 1 what remains after subtracting their
centroids, and so on (residual quantisation as in Rajput et al. 2023, "Recommender Systems with
Generative Retrieval", arXiv:2305.05065; k-means instead of a trained autoencoder). Plain k-means
is its first level with more clusters (Pan et al. 2024, "A Multi-modal Modeling Framework for
Cold-start Short-video Recommendation", doi:10.1145/3640457.3688098: about 1,000). Either clusters
whole vectors or each modality by itself. Codes always come from ``Codebooks.assign``, so an item
posted later gets the code that it would have got here.

Legend: N items, D vector size, L levels, K codes per level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from serendip.config import Config
from serendip.content.behaviour_alignment import align
from serendip.data.arrays import FloatArray, IntArray
from serendip.data.semantic_ids import Codebooks, Level
from serendip.errors import DataError
from serendip.runtime.progress import TrainOptions
from serendip.runtime.threads import num_threads

_LEAST_LENGTH = 1e-4
_SMALLEST_CODEBOOK, _LARGEST_CODEBOOK = 4, 256
_MOST_CLUSTERS, _ITEMS_PER_CLUSTER = 1_000, 10


class ResidualKMeansConfig(Config):
    """How many levels and codes, and of what."""

    method: Literal["residual-k-means", "k-means"] = "residual-k-means"
    """Several levels of few codes, or one level of many."""

    vectors: Literal["content", "aligned"] = "content"
    """What is clustered: content as it is, or moved to where behaviour puts it."""

    scope: Literal["joint", "per-modality"] = "joint"
    """Whole vectors, or every modality by itself: the levels of the first one, then those of the
    next."""

    num_levels: int = Field(default=3, ge=1, le=8)
    """Levels of residual k-means, per modality where they are coded apart; k-means has one."""

    codebook_size: int | None = Field(default=None, ge=1, le=65_536)
    """K; None = about sqrt(N), a power of two from 4 to 256; for k-means N / 10, from 4 to 1,000.
    Never more than N."""

    iterations: int = Field(default=20, ge=1)
    """k-means rounds per level."""

    @model_validator(mode="after")
    def _aligned_vectors_have_no_modalities(self) -> Self:
        if self.vectors == "aligned" and self.scope == "per-modality":
            raise ValueError("aligned vectors mix the modalities, so they are coded jointly")
        return self


class ResidualKMeans:
    """Fits codebooks to vectors."""

    def __init__(self, config: ResidualKMeansConfig | None = None) -> None:
        self.config = config or ResidualKMeansConfig()

    def codebook_size(self, num_items: int) -> int:
        """K for a catalogue of N items."""
        if num_items < 2:
            return 1
        size = 2 ** round(math.log2(math.sqrt(num_items)))
        largest = _LARGEST_CODEBOOK
        if self.config.method == "k-means":
            size, largest = num_items // _ITEMS_PER_CLUSTER, _MOST_CLUSTERS
        size = min(max(size, _SMALLEST_CODEBOOK), largest)
        return min(self.config.codebook_size or size, num_items)

    def fit(
        self,
        vectors: FloatArray,
        options: TrainOptions | None = None,
        blocks: Sequence[slice] = (),
        start: Codebooks | None = None,
    ) -> tuple[Codebooks, IntArray]:
        """Fit one codebook per level.

        Args:
            vectors: (N, D) float32; N may be 0 or 1, rows may be equal.
            options: seed and progress.
            blocks: the columns of each modality; none = all columns are one modality.
            start: earlier codebooks whose centroids are moved instead of drawing new ones, where
                they are of the same L, K and D; most codes then stay what they were.

        Returns:
            the codebooks and the codes (N, L) of ``vectors``.

        Raises:
            DataError: vectors are not two-dimensional or not finite.
        """
        options = options or TrainOptions()
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise DataError(f"vectors of shape {vectors.shape} cannot be clustered: not finite.")
        columns = self._columns(blocks)
        size = self.codebook_size(len(vectors))
        centroids = np.zeros((len(columns), size, vectors.shape[1]), dtype=np.float32)
        codes = np.zeros((len(vectors), len(columns)), dtype=np.int32)
        residual = np.array(vectors, dtype=np.float32, order="C")
        levels = options.progress.track(range(len(columns)), "Semantic IDs", len(columns))
        for level in levels if len(vectors) else ():
            part = np.ascontiguousarray(residual[:, columns[level]])
            first = None
            if start is not None and start.centroids.shape == centroids.shape:
                first = np.ascontiguousarray(start.centroids[level][:, columns[level]])
            found = self._centroids(part, size, options.seed + level, first)
            centroids[level, :, columns[level]] = found
            codes[:, level] = Level(centroids[level]).quantise(residual)
        return Codebooks(centroids), codes

    def _columns(self, blocks: Sequence[slice]) -> list[slice]:
        """The columns that each level clusters."""
        num_levels = 1 if self.config.method == "k-means" else self.config.num_levels
        modalities = blocks if blocks and self.config.scope == "per-modality" else [slice(None)]
        return [columns for columns in modalities for _ in range(num_levels)]

    def _centroids(
        self, vectors: FloatArray, size: int, seed: int, start: FloatArray | None
    ) -> FloatArray:
        distinct = _distinct(vectors, size)
        if distinct is not None:
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
        kmeans.train(_not_zero(vectors, size), init_centroids=start)
        return np.asarray(kmeans.centroids, dtype=np.float32).reshape(size, -1)


def _not_zero(vectors: FloatArray, least: int) -> FloatArray:
    """Rows that are not zero; all rows where fewer than ``least`` are not.

    An item alone in its cluster leaves a residual of zero. A centroid that begins there is nearer
    to all others than they are to one another, and would take nearly all of them.
    """
    rows = np.linalg.norm(vectors, axis=1) > _LEAST_LENGTH
    return np.ascontiguousarray(vectors[rows]) if rows.sum() >= least else vectors


def fit_codebooks(
    content: FloatArray,
    config: ResidualKMeansConfig,
    pairs: IntArray,
    options: TrainOptions,
    blocks: Sequence[slice] = (),
    start: Codebooks | None = None,
) -> tuple[Codebooks, IntArray]:
    """Codebooks of content or, where the config says so, of behaviour-aligned content.

    Args:
        content: (N, D) float32.
        config: of which vectors, and how.
        pairs: (P, 2) int32 items chosen together; read only where vectors are aligned.
        options: seed and progress.
        blocks: the columns of each modality.
        start: see ``ResidualKMeans.fit``.

    Returns:
        the codebooks, which take content in either case, and the codes (N, L).
    """
    kmeans = ResidualKMeans(config)
    if config.vectors == "content":
        return kmeans.fit(content, options, blocks, start)
    alignment = align(content, pairs, options=options)
    fitted, _ = kmeans.fit(alignment.encode(content), options, (), start)
    codebooks = Codebooks(fitted.centroids, alignment)
    return codebooks, codebooks.assign(content)


def _distinct(vectors: FloatArray, most: int) -> FloatArray | None:
    """The distinct rows in order of appearance; None where there are more than ``most``.

    Ends at the first row that is one too many: for most catalogues after a few hundred rows.
    """
    found: dict[bytes, int] = {}
    for number, row in enumerate(vectors):
        found.setdefault((row + 0.0).tobytes(), number)  # -0.0 and 0.0 are the same number
        if len(found) > most:
            return None
    return vectors[list(found.values())]


@dataclass(frozen=True, slots=True)
class CodeQuality:
    """How well codes tell items apart and how evenly they are used.

    Args:
        num_items: N.
        collision_rate: share of items whose full code another item also has; in [0, 1].
        used: codes in use, per level.
        dead: codes that no item has, per level.
        perplexity: 2 ** entropy of the codes, per level; K = all used evenly, 1 = one for all.
        largest: share of the items that have the most frequent code, per level; in [0, 1].
    """

    num_items: int
    collision_rate: float
    used: tuple[int, ...]
    dead: tuple[int, ...]
    perplexity: tuple[float, ...]
    largest: tuple[float, ...]


def quality(codes: IntArray, codebook_size: int) -> CodeQuality:
    """Measure codes (N, L) with values in [0, codebook_size)."""
    num_items, num_levels = codes.shape
    if num_items == 0:
        return CodeQuality(0, 0.0, (0,) * num_levels, (codebook_size,) * num_levels, (), ())
    _, counts = np.unique(codes, axis=0, return_counts=True)
    used, perplexity, largest = [], [], []
    for level in range(num_levels):
        share = np.bincount(codes[:, level], minlength=codebook_size) / num_items
        share = share[share > 0]
        used.append(len(share))
        perplexity.append(float(2.0 ** -(share * np.log2(share)).sum()))
        largest.append(float(share.max()))
    dead = tuple(codebook_size - count for count in used)
    collided = float(counts[counts > 1].sum() / num_items)
    return CodeQuality(num_items, collided, tuple(used), dead, tuple(perplexity), tuple(largest))
