"""Base of arrays with one row per item that are stored or computed in a way of their own.

They are read like numpy arrays of float32 or of any other type: ``rows[item_nums]``, ``len``,
``shape``, operators; and they are passed under the type of an array. Only reading rows by item
number has a cost that does not depend on the number of rows. What needs products with rows uses
``dot_rows`` and ``dot_items``, which copy as little as possible.

Shapes: N rows, D row size, M rows that are read, B vectors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray

ROWS_PER_BLOCK = 8_192  # copied at once by what reads all of them


class RowArray(NDArrayOperatorsMixin, ABC):
    """An immutable array (N, ...) that is read by row."""

    __slots__ = ()

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(N, ...)."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    @abstractmethod
    def take(self, numbers: NDArray[np.integer]) -> NDArray[Any]:
        """Rows (..., ...) of the numbers (...), in their order; negative ones count from the end.

        Raises:
            IndexError: a number is not that of a row.
        """

    def dot(self, vectors: FloatArray) -> FloatArray:
        """``vectors @ rows.T`` (B, N) float32 of vectors (B, D), block by block."""
        products = np.empty((len(vectors), len(self)), np.float32)
        for begin in range(0, len(self), ROWS_PER_BLOCK):
            block = slice(begin, begin + ROWS_PER_BLOCK)
            products[:, block] = vectors @ self[block].T
        return products

    def dot_items(self, numbers: NDArray[np.integer], vector: FloatArray) -> FloatArray:
        """Products (M,) float32 of the rows of the numbers (M,) and one vector (D,)."""
        return np.asarray(self.take(numbers) @ vector, np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)  # a copy of all rows

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int | np.integer):
            if not -len(self) <= key < len(self):
                raise IndexError(f"row {key} of {len(self)}")
            return self.take(np.array([key]))[0]
        if isinstance(key, slice):
            return self.take(np.arange(*key.indices(len(self))))
        if isinstance(key, tuple):
            return np.asarray(self)[key]
        numbers = np.asarray(key)
        if numbers.dtype == np.bool_:
            if len(numbers) != len(self):
                raise IndexError(f"a mask of length {len(numbers)} for {len(self)} rows")
            numbers = np.flatnonzero(numbers)
        return self.take(numbers.astype(np.int64, copy=False))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        rows = np.empty(self.shape, self.dtype)
        for begin in range(0, len(self), ROWS_PER_BLOCK):
            block = slice(begin, begin + ROWS_PER_BLOCK)
            rows[block] = self[block]
        return rows if dtype is None else rows.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = (np.asarray(part) if isinstance(part, RowArray) else part for part in inputs)
        return getattr(ufunc, method)(*arrays, **options)


def dot_rows(vectors: FloatArray, rows: FloatArray) -> FloatArray:
    """``vectors @ rows.T`` (B, N) float32 of vectors (B, D) and rows (N, D)."""
    if isinstance(rows, RowArray):
        return rows.dot(vectors)
    return np.asarray(vectors @ rows.T, np.float32)


def dot_items(rows: FloatArray, numbers: NDArray[np.integer], vector: FloatArray) -> FloatArray:
    """``rows[numbers] @ vector`` (M,) float32 of rows (N, D), numbers (M,) and a vector (D,)."""
    if isinstance(rows, RowArray):
        return rows.dot_items(numbers, vector)
    return np.asarray(rows[numbers] @ vector, np.float32)
