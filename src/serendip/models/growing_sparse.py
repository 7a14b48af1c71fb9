"""Sparse rows, one per item, that grow and change at a cost independent of their number.

The rows of a generation are a memory-mapped CSR matrix. Rows of items that were posted or changed
later are in arrays of fixed width; the columns stay those of the generation.

Shapes: N0 rows of the generation, N rows, C columns, M rows that are read, W entries of a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.growing_rows import append_rows, replace_rows
from serendip.models.linalg import Sparse, add_rows, select_columns, stack_rows, to_csr

_OF_BASE = -1


@dataclass(frozen=True, slots=True, eq=False)
class GrowingSparse:
    """An immutable sparse matrix (N, C) of base rows, appended rows and changed rows.

    Args:
        base: (N0, C).
        places: (N,) int32 row of ``columns`` and ``values``; ``_OF_BASE`` = the row of ``base``.
        columns: (R, W) int32 columns of the newer rows, -1 = none.
        values: (R, W) float32.
    """

    base: Sparse
    places: IntArray
    columns: IntArray
    values: FloatArray

    @classmethod
    def of(cls, base: Sparse, width: int) -> Self:
        """The rows of a matrix; newer ones have ``width`` entries at most."""
        places = np.broadcast_to(np.int32(_OF_BASE), (base.shape[0],))
        columns, values = np.empty((0, width), np.int32), np.empty((0, width), np.float32)
        return cls(base, places, columns, values)

    def __len__(self) -> int:
        return len(self.places)

    def appended(self, rows: Sparse) -> GrowingSparse:
        """A copy with rows (M, C) at the end."""
        columns, values = self._with_entries(rows)
        return GrowingSparse(
            self.base, append_rows(self.places, self._new_places(rows)), columns, values
        )

    def replaced(self, numbers: IntArray, rows: Sparse) -> GrowingSparse:
        """A copy in which rows (M, C) are those of the numbers (M,)."""
        columns, values = self._with_entries(rows)
        places = replace_rows(self.places, numbers, self._new_places(rows))
        return GrowingSparse(self.base, places, columns, values)

    def take(self, numbers: NDArray[np.integer]) -> Sparse:
        """Rows (M, C) of the numbers (M,), in their order."""
        places = self.places[numbers]
        is_base = places == _OF_BASE
        if is_base.all():
            return self.base[numbers]
        columns, values = self.columns[places[~is_base]], self.values[places[~is_base]]
        filled = columns >= 0
        starts = np.append(0, np.cumsum(filled.sum(1))).astype(np.int32)
        shape = (len(columns), self.base.shape[1])
        newer = to_csr((values[filled], columns[filled], starts), shape)
        rows = np.empty(len(numbers), np.int64)
        rows[is_base] = np.arange(is_base.sum())
        rows[~is_base] = is_base.sum() + np.arange(len(columns))
        return stack_rows([self.base[numbers[is_base]], newer], shape[1])[rows]

    def sum(self, numbers: IntArray, weights: FloatArray) -> tuple[IntArray, FloatArray]:
        """Weighted sum of the rows of the numbers (M,): its columns, ascending, and values."""
        rows, numbers = self._source(numbers)
        return add_rows(rows, numbers, weights)

    def select(self, numbers: IntArray, weights: FloatArray, columns: IntArray) -> FloatArray:
        """Weighted rows of the numbers (M,), restricted to columns (C,): a dense (M, C) array."""
        rows, numbers = self._source(numbers)
        return select_columns(rows, numbers, weights, columns)

    def _source(self, numbers: IntArray) -> tuple[Sparse, IntArray]:
        """A matrix with the rows of the numbers (M,), and their numbers in it."""
        if (self.places[numbers] == _OF_BASE).all():
            return self.base, numbers
        return self.take(numbers), np.arange(len(numbers), dtype=np.int32)

    def rows_with(self, columns: IntArray) -> IntArray:
        """Numbers of the rows that have an entry in one of some columns; reads all rows."""
        entries = np.flatnonzero(np.isin(self.base.indices, columns))
        of_base = np.searchsorted(self.base.indptr, entries, side="right") - 1
        newer = np.flatnonzero(np.asarray(self.places) != _OF_BASE)
        has_entry = np.isin(self.columns[self.places[newer]], columns).any(1)
        return np.union1d(of_base, newer[has_entry]).astype(np.int32)

    def whole(self) -> Sparse:
        """All rows (N, C); without newer ones the base itself."""
        if len(self) == self.base.shape[0] and not len(self.columns):
            return self.base
        return self.take(np.arange(len(self)))

    def _new_places(self, rows: Sparse) -> IntArray:
        return np.arange(len(self.columns), len(self.columns) + rows.shape[0], dtype=np.int32)

    def _with_entries(self, rows: Sparse) -> tuple[IntArray, FloatArray]:
        """The entries of the newer rows with those of ``rows`` (M, C) at the end."""
        counts = np.diff(rows.indptr)
        columns = np.full((rows.shape[0], self.columns.shape[1]), -1, np.int32)
        values = np.zeros(columns.shape, np.float32)
        filled = np.arange(columns.shape[1]) < counts[:, None]
        columns[filled], values[filled] = rows.indices, rows.data
        return append_rows(self.columns, columns), append_rows(self.values, values)
