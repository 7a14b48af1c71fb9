"""Cells of semantic IDs: finds items near a vector without comparing it with all of them.

The items that share their first two codes are a cell. The residual codebooks give the centre of
every cell for free: the sum of its two centroids (an inverted multi-index, Babenko and Lempitsky
2012, over residual codes). The items of the nearest cells are the candidates of an exact search.

Shapes: N items, U cells, L code levels, K codes per level, D vector size, M new items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from serendip.data.arrays import FloatArray, IntArray, take_ranges
from serendip.data.artefact import Artefact
from serendip.data.items.semantic_ids import Codebooks

MIN_ITEMS = 20_000  # smaller catalogues are compared as a whole, which is as fast there
NUM_COMPARED = 1_000  # items of the nearest cells that a new item is compared with
NUM_NEAR = 100  # the nearest of these, among which models search neighbours of their own
_SPARE_CELLS = 64


@dataclass(frozen=True, eq=False)
class CodeCells(Artefact):
    """Items by the cell of their first codes.

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
