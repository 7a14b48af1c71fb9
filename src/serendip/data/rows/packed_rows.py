"""Rows of 8-bit numbers, each row with a scale of its own: a quarter of the size of float32.

A value is ``number * scale``. A scale is the largest value of its row divided by 127, rounded up to
16 binary digits, so that products are exact and rows that are packed again do not change. The error
of a value is at most half a scale: of the cosine of two unit vectors of 512 dimensions about
0.0003. Scalar quantisation of this kind is described by Jegou et al. 2011, "Product Quantization
for Nearest Neighbor Search", and is common in vector databases.

Shapes: N rows, D row size, M rows that are read, B vectors.
"""

from __future__ import annotations

from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray
from serendip.data.artefact import Artefact
from serendip.data.rows.row_array import ROWS_PER_BLOCK, RowArray

_LARGEST = 127
# Of the 24 binary digits of a float32; an 8-bit number times the other 16 is exact.
_DROPPED_BITS = 8


class PackedRows(RowArray, Artefact):
    """An immutable array (N, D) that is read as float32.

    Args:
        values: (N, D) int8, memory-mapped or not.
        scales: (N,) float32; 0 = a row of zeros.
    """

    __slots__ = ("scales", "values")

    def __init__(self, values: NDArray[np.int8], scales: FloatArray) -> None:
        self.values, self.scales = np.asarray(values), np.asarray(scales)

    @classmethod
    def of(cls, rows: FloatArray) -> Self:
        """Pack rows (N, D), block by block; rows that are packed already are returned."""
        if isinstance(rows, cls):
            return rows
        packed = cls(np.empty(rows.shape, np.int8), np.empty(len(rows), np.float32))
        for begin in range(0, len(rows), ROWS_PER_BLOCK):
            block = slice(begin, begin + ROWS_PER_BLOCK)
            packed.values[block], packed.scales[block] = _pack(np.asarray(rows[block], np.float32))
        return packed

    def stored(self) -> dict[str, Any]:
        """Numbers and scales."""
        return {"values": self.values, "scales": self.scales}

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, the type of what is read."""
        return self.scales.dtype

    def take(self, numbers: NDArray[np.integer]) -> FloatArray:
        """Rows (..., D) float32 of the numbers (...)."""
        rows: FloatArray = self.values[numbers] * self.scales[numbers][..., None]
        return rows

    def dot_items(self, numbers: NDArray[np.integer], vector: FloatArray) -> FloatArray:
        """Products (M,) of rows and a vector (D,), scaled last, each rounded alike in any row."""
        values = self.values[numbers].astype(np.float32)  # (M, D)
        products: FloatArray = np.einsum("nd,d->n", values, vector) * self.scales[numbers]
        return np.asarray(products, np.float32)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self.values[key] * self.scales[key][:, None]
        return super().__getitem__(key)


def pack_rows(rows: FloatArray) -> FloatArray:
    """Pack rows (N, D) unless they are packed, or grew from packed ones."""
    if isinstance(rows, RowArray):
        return rows
    return cast("FloatArray", PackedRows.of(rows))


def round_rows(rows: FloatArray) -> FloatArray:
    """Rows (N, D) as they are read after packing."""
    return np.asarray(PackedRows.of(rows))


def _pack(rows: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
    largest = np.abs(rows).max(axis=1, initial=0.0)  # (M,)
    # Rounded up: the largest number stays within 127.
    bits = (largest / np.float32(_LARGEST)).view(np.uint32)
    dropped = np.uint32((1 << _DROPPED_BITS) - 1)
    is_finite = np.isfinite(largest)
    scales = np.where(is_finite, (bits + dropped) & ~dropped, bits).view(np.float32)  # (M,)
    divisors = np.where(is_finite & (scales > 0), scales, np.float32(1.0))
    values = np.where(is_finite[:, None], np.rint(rows / divisors[:, None]), 0.0)
    return values.astype(np.int8), np.where(is_finite, scales, np.float32(np.nan))
