"""Sparse rows, one per item, that grow and change at a cost independent of their number.

The rows of a generation are packed and memory-mapped. Rows of items that were posted or changed
later are in arrays of fixed width (``GrowingSparse``), or are computed when they are first read
(``LateRows``); the columns stay those of the generation.

Shapes: N0 rows of the generation, N rows, C columns, M rows that are read, W entries of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, BoolArray, FloatArray, IntArray, distinct, locate
from serendip.data.rows.growing_rows import append_rows, replace_rows
from serendip.models.linalg import Sparse, stack_rows, to_csr
from serendip.models.sparse.packed_sparse import PackedSparse, blocks_of

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

    def rows_with(self, columns: IntArray) -> IntArray:
        """Numbers of the rows that have an entry in one of some columns; reads all rows."""
        rows = self.whole()
        entries = np.flatnonzero(np.isin(rows.indices, columns))
        found = np.searchsorted(rows.indptr, entries, side="right") - 1
        return np.unique(found).astype(np.int32)

    def whole(self) -> Sparse:
        """All rows (N, C)."""
        return self.take(np.arange(len(self)))

    def packed(self, num_columns: int) -> PackedSparse:
        """All rows, packed, with more columns; without newer rows the base itself."""
        if len(self) == self.base.shape[0] and not len(self.ends):
            return self.base.resized(len(self), num_columns)
        return PackedSparse.of(self.whole()).resized(len(self), num_columns)


@dataclass(slots=True)
class _ComputedRows:
    """Rows that copies share: entries by number, and the number of rows of the longest copy."""

    size: int
    entries: dict[int, tuple[IntArray, FloatArray]] = field(default_factory=dict)

    def without(self, numbers: Iterable[int], size: int) -> _ComputedRows:
        """A copy of the first ``size`` rows without some."""
        left = self.entries.copy()
        for number in (*numbers, *range(size, self.size)):
            left.pop(number, None)
        return _ComputedRows(size, left)


class LateRows:
    """Rows of a matrix, of which newer and changed ones are computed when first read.

    Copies share the computed rows until a row changes.

    Args:
        base: (N0, C).
    """

    def __init__(self, base: Sparse | PackedSparse) -> None:
        self.base = PackedSparse.of(base)
        self._size = self.base.shape[0]
        self._changed: IntArray = NO_ITEMS  # ascending
        self._computed = _ComputedRows(self._size)

    def with_new(self, count: int) -> LateRows:
        """A copy with more rows at the end."""
        copy = self._copy()
        if copy._computed.size != self._size:  # another copy has rows of its own
            copy._computed = copy._computed.without((), self._size)
        copy._size = copy._computed.size = self._size + count
        return copy

    def with_changed(self, numbers: IntArray) -> LateRows:
        """A copy in which the rows of the numbers (M,) are computed anew."""
        copy = self._copy()
        copy._changed = distinct(np.concatenate([self._changed, numbers]))
        copy._computed = self._computed.without(numbers.tolist(), self._size)
        return copy

    def _copy(self) -> LateRows:
        copy = LateRows(self.base)
        copy._size, copy._changed, copy._computed = self._size, self._changed, self._computed
        return copy

    def take(self, numbers: NDArray[np.integer], compute: Callable[[IntArray], Sparse]) -> Sparse:
        """Rows (M, C) of the numbers (M,), in their order.

        Args:
            numbers: of rows, those from N0 on are newer ones.
            compute: numbers (M,) -> rows (M, C) that are not known yet.
        """
        late = self._are_late(numbers)
        if not late.any():
            return self.base[numbers]
        wanted, known = numbers[late].tolist(), self._computed.entries
        missing = [number for number in dict.fromkeys(wanted) if number not in known]
        if missing:
            self._add(missing, compute(np.array(missing, np.int32)))
        rows = [known[number] for number in wanted]
        starts = np.cumsum([0, *(len(columns) for columns, _ in rows)]).astype(np.int32)
        columns, values = (np.concatenate(part) for part in zip(*rows, strict=True))
        newer = to_csr((values, columns, starts), (len(rows), self.base.shape[1]))
        order = np.empty(len(numbers), np.int64)
        order[~late] = np.arange(len(numbers) - len(rows))
        order[late] = len(numbers) - len(rows) + np.arange(len(rows))
        return stack_rows([self.base[numbers[~late]], newer], self.base.shape[1])[order]

    def source(
        self, numbers: IntArray, compute: Callable[[IntArray], Sparse]
    ) -> tuple[Sparse | PackedSparse, IntArray]:
        """A matrix that has the rows of the numbers (M,), and their numbers in it.

        It is the base where all of them are there, so that nothing is copied.
        """
        if not self._are_late(numbers).any():
            return self.base, numbers
        return self.take(numbers, compute), np.arange(len(numbers), dtype=np.int32)

    def packed(self, compute: Callable[[IntArray], Sparse]) -> PackedSparse:
        """All rows (N, C), packed; without newer rows the base itself."""
        if self._size == self.base.shape[0] and not len(self._changed):
            return self.base
        numbers = np.arange(self._size, dtype=np.int32)
        parts = (numbers[rows] for rows in blocks_of(self._size))
        return PackedSparse.stack((self.take(part, compute) for part in parts), self.base.shape[1])

    def _are_late(self, numbers: NDArray[np.integer]) -> BoolArray:
        """(M,) True for rows that are not those of the base."""
        is_late: BoolArray = (numbers >= self.base.shape[0]) | locate(self._changed, numbers)[1]
        return is_late

    def _add(self, numbers: list[int], rows: Sparse) -> None:
        for row, number in enumerate(numbers):
            entries = slice(rows.indptr[row], rows.indptr[row + 1])
            self._computed.entries[number] = rows.indices[entries], rows.data[entries]
