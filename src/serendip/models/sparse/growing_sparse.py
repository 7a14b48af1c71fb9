"""Sparse rows, one per item, that grow and change at a cost independent of their number.

The rows of a generation are packed and memory-mapped. Rows of items that were posted or changed
later are in arrays of fixed width; the columns stay those of the generation.

Shapes: N0 rows of the generation, N rows, C columns, M rows that are read, W entries of a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.data.rows.growing_rows import append_rows, replace_rows
from serendip.models.linalg import Sparse, stack_rows, to_csr
from serendip.models.sparse.packed_sparse import PackedSparse

_OF_BASE = -1


@dataclass(frozen=True, slots=True, eq=False)
class GrowingSparse:
    """An immutable sparse matrix (N, C) of base rows, appended rows and changed rows.

    Args:
        base: (N0, C) packed.
        places: (N,) int32 row of ``ends``; ``_OF_BASE`` = the row of ``base``.
        ends: (R, 2) int32 first entry of each newer row and the entry behind its last one.
        columns: (E,) int32 of the entries of the newer rows.
        values: (E,) float32.
    """

    base: PackedSparse
    places: IntArray
    ends: IntArray
    columns: IntArray
    values: FloatArray

    @classmethod
    def of(cls, base: Sparse | PackedSparse) -> Self:
        """The rows of a matrix."""
        places = np.broadcast_to(np.int32(_OF_BASE), (base.shape[0],))
        ends, values = np.empty((0, 2), np.int32), np.empty(0, np.float32)
        return cls(PackedSparse.of(base), places, ends, NO_ITEMS, values)

    def __len__(self) -> int:
        return len(self.places)

    def appended(self, rows: Sparse) -> GrowingSparse:
        """A copy with rows (M, C) at the end."""
        places = np.arange(len(self.ends), len(self.ends) + rows.shape[0], dtype=np.int32)
        return self._with_rows(rows, append_rows(self.places, places))

    def replaced(self, numbers: IntArray, rows: Sparse) -> GrowingSparse:
        """A copy in which rows (M, C) are those of the numbers (M,)."""
        places = np.arange(len(self.ends), len(self.ends) + rows.shape[0], dtype=np.int32)
        return self._with_rows(rows, replace_rows(self.places, numbers, places))

    def _with_rows(self, rows: Sparse, places: IntArray) -> GrowingSparse:
        bounds = rows.indptr + len(self.columns)
        ends = np.stack([bounds[:-1], bounds[1:]], axis=1).astype(np.int32)
        columns = append_rows(self.columns, rows.indices.astype(np.int32, copy=False))
        values = append_rows(self.values, rows.data)
        return GrowingSparse(self.base, places, append_rows(self.ends, ends), columns, values)

    def take(self, numbers: NDArray[np.integer]) -> Sparse:
        """Rows (M, C) of the numbers (M,), in their order."""
        places = self.places[numbers]
        is_base = places == _OF_BASE
        if is_base.all():
            return self.base[numbers]
        lengths, entries = self._entries(places[~is_base])
        starts = np.append(0, np.cumsum(lengths)).astype(np.int32)
        shape = (len(lengths), self.base.shape[1])
        newer = to_csr((self.values[entries], self.columns[entries], starts), shape)
        rows = np.empty(len(numbers), np.int64)
        rows[is_base] = np.arange(is_base.sum())
        rows[~is_base] = is_base.sum() + np.arange(len(lengths))
        return stack_rows([self.base[numbers[is_base]], newer], shape[1])[rows]

    def _entries(self, places: IntArray) -> tuple[IntArray, IntArray]:
        """Lengths (M,) of newer rows, and the numbers (E,) of their entries."""
        begins, ends = self.ends[places].T  # (M,) each
        lengths = ends - begins
        before = np.cumsum(lengths) - lengths
        return lengths, np.arange(lengths.sum()) + np.repeat(begins - before, lengths)

    def dot(self, numbers: IntArray, vector: FloatArray) -> FloatArray:
        """Products (M,) of the rows of the numbers (M,) and a vector (C,)."""
        places = self.places[numbers]
        is_base = places == _OF_BASE
        products = np.empty(len(numbers), np.float32)
        products[is_base] = self.base.dot(numbers[is_base], vector)
        newer = np.flatnonzero(~is_base)
        if len(newer):
            lengths, entries = self._entries(places[newer])
            weights = self.values[entries] * vector[self.columns[entries]]
            rows = np.repeat(np.arange(len(newer)), lengths)
            products[newer] = np.bincount(rows, weights, len(newer))
        return products

    def whole(self) -> Sparse:
        """All rows (N, C)."""
        return self.take(np.arange(len(self)))

    def packed(self, num_columns: int) -> PackedSparse:
        """All rows, packed, with more columns; without newer rows the base itself."""
        if len(self) == self.base.shape[0] and not len(self.ends):
            return self.base.resized(len(self), num_columns)
        return PackedSparse.of(self.whole()).resized(len(self), num_columns)
