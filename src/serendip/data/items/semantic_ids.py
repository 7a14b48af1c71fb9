"""Semantic IDs: residual codebooks and assignment of codes to content vectors.

Fitting codebooks is in ``content``. Assignment with frozen codebooks is plain numpy and is here,
because serving needs it for items posted after training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from serendip.data.arrays import FloatArray, IntArray, take_ranges
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


MIN_ITEMS = 20_000  # smaller catalogues are compared as a whole, which is as fast there
NUM_COMPARED = 1_000  # items of the nearest cells that a new item is compared with
NUM_NEAR = 100  # the nearest of these, among which models search neighbours of their own
_SPARE_CELLS = 64


@dataclass(frozen=True, eq=False)
class CodeCells(Artefact):
    """Items by the cell of their first codes: finds some near a vector without comparing all.

    The items that share their first two codes are a cell. The residual codebooks give the centre of
    every cell for free: the sum of its two centroids (an inverted multi-index, Babenko and
    Lempitsky 2012, over residual codes). U cells.

    Args:
        cells: (U,) int32 numbers of the cells that have items, ascending: ``first * K + second``.
        starts: (U + 1,) int32 offsets of the cells' items.
        items: (N,) int32 items by cell.
    """

    codebooks: Codebooks
    cells: IntArray
    starts: IntArray
    items: IntArray

    @classmethod
    def of(cls, codes: IntArray, codebooks: Codebooks) -> Self:
        """Sort items by their codes (N, L)."""
        numbers = codes[:, 0].astype(np.int64)
        if codes.shape[1] > 1:
            numbers = numbers * codebooks.codebook_size + codes[:, 1]
        items = np.argsort(numbers, kind="stable").astype(np.int32)
        cells, sizes = np.unique(numbers, return_counts=True)
        starts = np.append(0, np.cumsum(sizes)).astype(np.int32)
        return cls(codebooks, cells.astype(np.int32), starts, items)

    def near(self, content: FloatArray, catalogue: FloatArray) -> IntArray | None:
        """Items (M, ``NUM_NEAR``) nearest to content (M, D), padded with -1.

        They are the nearest of the nearest cells, by dot product with the content of all items
        ``catalogue`` (N or more, D). None in a small catalogue: there every item is near.
        """
        if len(self.items) < MIN_ITEMS:
            return None
        near = np.full((len(content), NUM_NEAR), -1, np.int32)
        for row, vector in enumerate(content):
            items = self._of_nearest_cells(vector)
            products = catalogue[items] @ vector  # (C,)
            best = np.argpartition(-products, min(NUM_NEAR, len(items)) - 1)[:NUM_NEAR]
            near[row, : len(best)] = items[best]
        return near

    def _of_nearest_cells(self, vector: FloatArray) -> IntArray:
        products = -2.0 * (self.codebooks.centroids[:2] @ vector)  # (2, K)
        distances = self._lengths
        for level, codes in zip(products, self._levels, strict=True):
            distances = distances + level.take(codes)  # (U,)
        share = NUM_COMPARED / len(self.items)
        count = min(len(self.cells), int(2 * share * len(self.cells)) + _SPARE_CELLS)
        nearest = np.argpartition(distances, count - 1)[:count]
        nearest = nearest[np.argsort(distances[nearest])]
        sizes = self.starts[nearest + 1] - self.starts[nearest]
        needed = int(np.searchsorted(np.cumsum(sizes), NUM_COMPARED)) + 1
        found: IntArray = self.items[take_ranges(self.starts, nearest[:needed])[1]]
        return found

    @cached_property
    def _levels(self) -> Sequence[IntArray]:
        if self.codebooks.num_levels == 1:
            return [self.cells]  # (U,) codes of each cell, of one level or two
        return np.divmod(self.cells, np.int32(self.codebooks.codebook_size))

    @cached_property
    def _lengths(self) -> FloatArray:
        centroids, levels = self.codebooks.centroids[:2], self._levels
        squares = (centroids**2).sum(2)  # (2, K)
        lengths = np.sum([one[codes] for one, codes in zip(squares, levels, strict=True)], axis=0)
        if len(levels) > 1:
            lengths = lengths + 2.0 * (centroids[0] @ centroids[1].T)[levels[0], levels[1]]
        return np.asarray(lengths, np.float32)
