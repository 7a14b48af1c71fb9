"""Sparse rows in half the space: gaps between columns in 16 bits, values in 16-bit floats.

**Packed rows**: the columns of a row ascend, so each is stored as its distance from the one before,
as in inverted indices. A distance that does not fit is bridged by entries of value 0, which are
dropped when a row is read (as in Han et al. 2016, "Deep Compression").

A stored value is rounded to 11 binary digits: its error is 0.05 % at most. Values below 3e-8 are 0.
Eight bits per value are too few: they reorder the many items with nearly the same score.

**Late rows** lie beside the packed, memory-mapped rows of a generation, whose columns stay;
``data.rows.row_array`` has the rule.

Shapes: N rows, N0 of them of the generation, L late, M that are read; C columns, E entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data import NO_ITEMS, Artefact, FloatArray, IntArray, locate
from serendip.data.rows.row_array import merge_numbers
from serendip.models.linalg import Sparse, stack_rows, sum_entries, sum_lengths, to_csr

_FARTHEST = 65_535
_LARGEST = float(np.finfo(np.float16).max)
_ROWS_PER_BLOCK = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class PackedSparse(Artefact):
    """An immutable sparse matrix (N, C) of values >= 0.

    Args:
        gaps: (E,) uint16 distance of each entry from the one before in its row, of the first from
            column 0.
        values: (E,) float32, or float16 if it was opened; 0 = the entry only bridges a distance.
        starts: (N + 1,) int32 or int64 offsets of the rows.
        num_columns: C.
    """

    gaps: NDArray[np.uint16]
    values: NDArray[np.floating]
    starts: NDArray[np.integer]
    num_columns: int

    @classmethod
    def of(cls, matrix: Sparse | Self) -> Self:
        """Pack a CSR matrix, some rows at a time; one that is packed is returned."""
        if isinstance(matrix, cls):
            return matrix
        rows: Sparse = matrix
        rows.sort_indices()
        return cls.stack((rows[part] for part in blocks_of(rows.shape[0])), rows.shape[1])

    @classmethod
    def stack(cls, blocks: Iterable[Sparse], columns: int) -> Self:
        """Pack CSR blocks of ``columns`` ascending columns, one below the other, as they come."""
        gaps, values, lengths = bytearray(), bytearray(), [np.zeros(1, np.int64)]
        for block in blocks:
            gaps_of_block, values_of_block, row_lengths = _pack(block)
            gaps.extend(gaps_of_block.data)
            values.extend(values_of_block.data)
            lengths.append(row_lengths)
        parts = np.frombuffer(gaps, np.uint16), np.frombuffer(values, np.float32)
        return cls(*parts, sum_lengths(lengths), columns)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, C)."""
        return len(self.starts) - 1, self.num_columns

    def entries(
        self, numbers: NDArray[np.integer]
    ) -> tuple[NDArray[np.integer], IntArray, FloatArray]:
        """Lengths (M,) of the rows of the numbers (M,); columns (E,) and values (E,), by row."""
        begins = self.starts[numbers].astype(np.int64)  # (M,)
        lengths = self.starts[numbers + 1] - begins  # (M,)
        ends = np.cumsum(lengths)  # (M,)
        entries = np.arange(lengths.sum()) + np.repeat(begins - ends + lengths, lengths)  # (E,)
        values = self.values[entries].astype(np.float32, copy=False)
        sums = np.append(0, np.cumsum(self.gaps[entries], dtype=np.int64))
        columns = sums[1:] - np.repeat(sums[ends - lengths], lengths)
        columns = columns.astype(np.int32)
        kept = values > 0
        if kept.all():
            return lengths, columns, values
        lengths = np.diff(np.append(0, np.cumsum(kept))[np.append(0, ends)])
        return lengths, columns[kept], values[kept]

    def __getitem__(self, numbers: NDArray[np.integer]) -> Sparse:
        lengths, columns, values = self.entries(numbers)
        starts = np.append(0, np.cumsum(lengths))
        return to_csr((values, columns, starts), (len(numbers), self.num_columns))

    def dot(self, numbers: NDArray[np.integer], vector: FloatArray) -> FloatArray:
        """Products (M,) of the rows of the numbers (M,) and a vector (C,)."""
        lengths, columns, values = self.entries(numbers)
        rows = np.repeat(np.arange(len(numbers)), lengths)  # (E,)
        sums = np.bincount(rows, values * vector[columns], len(numbers))
        return np.asarray(sums, np.float32)

    def add_rows(self, numbers: IntArray, weights: FloatArray) -> tuple[IntArray, FloatArray]:
        """Sum of the rows of the numbers (M,) by weight (M,): columns, ascending, and values.

        Costs as much as the rows have entries, however many columns the matrix has.
        """
        lengths, columns, values = self.entries(numbers)
        return sum_entries(columns, values * np.repeat(weights, lengths))

    def select_columns(
        self, numbers: IntArray, weights: FloatArray, columns: IntArray
    ) -> FloatArray:
        """Rows of the numbers (M,), each times its weight (M,), and columns (C,): dense (M, C)."""
        order = np.argsort(columns, kind="stable")
        lengths, entries, values = self.entries(numbers)
        rows = np.repeat(np.arange(len(numbers)), lengths)  # (E,)
        positions, is_asked = locate(columns[order], entries)
        dense = np.zeros((len(numbers), len(columns)), np.float32)
        dense[rows[is_asked], order[positions[is_asked]]] = (values * weights[rows])[is_asked]
        return dense

    def whole(self) -> Sparse:
        """All rows (N, C) as a CSR matrix."""
        return self[np.arange(self.shape[0])]

    def stored(self) -> dict[str, Any]:
        """The arrays; values are rounded."""
        values = np.minimum(self.values, _LARGEST).astype(np.float16, copy=False)
        return {**Artefact.stored(self), "values": values}


def blocks_of(num_rows: int) -> Iterator[slice]:
    """Rows that are packed at once."""
    for begin in range(0, num_rows, _ROWS_PER_BLOCK):
        yield slice(begin, begin + _ROWS_PER_BLOCK)


def _pack(
    matrix: Sparse,
) -> tuple[NDArray[np.uint16], FloatArray, NDArray[np.int64]]:
    """Gaps (E,), values (E,) and lengths (M,) of CSR rows (M, C) with ascending columns."""
    if not matrix.data.all():
        matrix = matrix.copy()
        matrix.eliminate_zeros()
    columns, filled = matrix.indices.astype(np.int64), np.diff(matrix.indptr)
    distances = np.diff(columns, prepend=0)
    first = matrix.indptr[:-1][filled > 0]
    distances[first] = columns[first]
    bridges = np.maximum(distances - 1, 0) // _FARTHEST  # (nnz,)
    places = np.cumsum(bridges + 1) - 1  # of the entries with a value
    gaps = np.full(len(columns) + int(bridges.sum()), _FARTHEST, np.uint16)
    values = np.zeros(len(gaps), np.float32)
    gaps[places], values[places] = distances - bridges * _FARTHEST, matrix.data
    ends = np.append(0, places + 1)[matrix.indptr]  # (M + 1,)
    return gaps, values, np.diff(ends)


@dataclass(frozen=True, slots=True, eq=False)
class LateSparse(Artefact):
    """An immutable sparse matrix (N, C) of base rows and late rows, which go before.

    Args:
        base: (N0, C) packed.
        numbers: (L,) int32 of the late rows, ascending.
        late: (L, C) CSR.
    """

    base: PackedSparse
    numbers: IntArray
    late: Sparse

    @classmethod
    def of(cls, base: Sparse | PackedSparse) -> Self:
        """The rows of a matrix."""
        return cls(PackedSparse.of(base), NO_ITEMS, to_csr((0, base.shape[1])))

    def stored(self) -> dict[str, Any]:
        """The rows of the generation."""
        return {"base": self.base}

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """See ``Artefact``."""
        return cls.of(values["base"])

    def put(self, numbers: IntArray, rows: Sparse) -> LateSparse:
        """A copy with other rows (M, C) of the numbers (M,), see ``LateRows.put``."""
        merged, places = merge_numbers(self.numbers, numbers)
        late = stack_rows([self.late, rows], self.base.num_columns)[places]
        return replace(self, late=late, numbers=merged)

    def take(self, numbers: NDArray[np.integer]) -> Sparse:
        """Rows (M, C) of the numbers (M,), in their order."""
        places, is_late = locate(self.numbers, numbers)
        if not is_late.any():
            return self.base[numbers]
        parts = [self.base[numbers[~is_late]], self.late[places[is_late]]]
        order = np.argsort(np.argsort(is_late, kind="stable"))
        return stack_rows(parts, self.base.num_columns)[order]

    def dot(self, numbers: IntArray, vector: FloatArray) -> FloatArray:
        """Products (M,) of the rows of the numbers (M,) and a vector (C,)."""
        places, is_late = locate(self.numbers, numbers)
        products = np.empty(len(numbers), np.float32)
        products[~is_late] = self.base.dot(numbers[~is_late], vector)
        if is_late.any():
            products[is_late] = self.late[places[is_late]] @ vector
        return products

    def whole(self) -> Sparse:
        """All rows (N, C)."""
        end = int(self.numbers[-1]) + 1 if len(self.numbers) else 0
        return self.take(np.arange(max(self.base.shape[0], end)))
