"""Arrays with one row per item that are stored or computed in a way of their own.

They are read like numpy arrays (``rows[item_nums]``, ``shape``, operators), and passed under their
type. Only reading rows by item number has a cost that does not depend on the number of rows. What
needs products with rows uses ``dot_rows`` and ``dot_items``, which copy as little as possible.

Shapes: N rows, D row size, M rows that are read, B vectors.

**Packed rows** are 8-bit numbers, each row with a scale of its own: a quarter of the size of
float32. A value is ``number * scale``. A scale is the largest value of its row divided by 127,
rounded up to 16 binary digits, so that products are exact and rows that are packed again do not
change. The error of a value is at most half a scale: of the cosine of two unit vectors of 512
dimensions about 0.0003. Scalar quantisation of this kind is described by Jegou et al. 2011,
"Product Quantization for Nearest Neighbor Search", and is common in vector databases.

**Base and late**: the arrays of a generation, and a few rows beside them of what came since.

A generation has one row per item, in arrays that are memory-mapped and never written. An item that
is posted or changed after the training is a *late item*: a new one is numbered after all others, a
changed one keeps its number. ``put(numbers, rows)``, or ``with_late`` of what has more than rows,
returns a copy in which the rows of these items are other ones. It shares the base and has its late
rows to itself: a request keeps the state that it began with while the next one is made, without a
lock. Putting costs as much as there are late rows, however long the base is; reading a row costs
one binary search more. Late rows are never stored: a restart puts the items of the store again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self, TypeVar, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray, locate
from serendip.data.artefact import Artefact

_Array = TypeVar("_Array", bound=NDArray[Any])

ROWS_PER_BLOCK = 8_192  # copied at once by what reads all of them
_LARGEST = 127
# Of the 24 binary digits of a float32; an 8-bit number times the other 16 is exact.
_DROPPED_BITS = 8


class RowArray(NDArrayOperatorsMixin, ABC):
    """An immutable array (N, ...) that is read by row."""

    __slots__ = ()

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @abstractmethod
    def take(self, numbers: NDArray[np.integer]) -> NDArray[Any]:
        """Rows (..., ...) of the numbers (...); negative ones count from the end."""

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


class PackedRows(RowArray, Artefact):
    """An immutable array (N, D) that is read as float32: int8 values, and scales (N,)."""

    __slots__ = ("dtype", "scales", "shape", "values")

    def __init__(self, values: NDArray[np.int8], scales: FloatArray) -> None:
        self.values, self.scales = np.asarray(values), np.asarray(scales)
        self.shape, self.dtype = self.values.shape, self.scales.dtype

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
        """See ``Artefact``."""
        return {"values": self.values, "scales": self.scales}

    def take(self, numbers: NDArray[np.integer]) -> FloatArray:
        """See ``RowArray``."""
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


class LateRows(RowArray):
    """An immutable array (N, ...) of base rows (N0, ...) and late rows (L, ...), which go before.

    The numbers (L,) of the late rows are ascending; those from N0 on leave no gap.
    """

    __slots__ = ("base", "dtype", "late", "numbers", "shape")

    def __init__(
        self, base: NDArray[Any], numbers: IntArray = NO_ITEMS, late: NDArray[Any] | None = None
    ) -> None:
        self.base = base if isinstance(base, RowArray) else np.asarray(base)
        self.numbers = numbers
        self.late = np.empty((0, *base.shape[1:]), base.dtype) if late is None else late
        end = int(numbers[-1]) + 1 if len(numbers) else 0
        self.shape, self.dtype = (max(len(base), end), *base.shape[1:]), base.dtype

    def put(self, numbers: IntArray, rows: NDArray[Any]) -> LateRows:
        """A copy with other rows (M, ...) of the numbers (M,); of equal numbers the last counts.

        A number that is neither that of a row nor the next new one is an ``IndexError``.
        """
        merged, places = merge_numbers(self.numbers, numbers)
        new = merged[merged >= len(self.base)]
        if len(merged) and (merged[0] < 0 or len(new) != max(merged[-1] + 1 - len(self.base), 0)):
            raise IndexError(f"numbers {min(numbers)} to {max(numbers)} of {len(self)} rows")
        late = np.concatenate([self.late, np.asarray(rows, self.dtype)])
        if len(places) < len(late) or (np.diff(places) < 0).any():  # new items are the last rows
            late = late[places]
        return LateRows(self.base, merged, late)

    def take(self, numbers: NDArray[np.integer]) -> NDArray[Any]:
        """See ``RowArray``."""
        flat = np.where(numbers < 0, numbers + len(self), numbers).ravel()
        places, is_late = locate(self.numbers, flat)
        if is_late.any():
            taken = np.empty((len(flat), *self.base.shape[1:]), self.dtype)
            taken[is_late] = self.late[places[is_late]]
            taken[~is_late] = self.base[flat[~is_late]]
        else:
            taken = np.asarray(self.base[flat])
        return taken.reshape(*numbers.shape, *self.base.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        rows = np.empty(self.shape, self.dtype if dtype is None else dtype)
        rows[: len(self.base)] = self.base
        rows[self.numbers] = self.late
        return rows

    def dot(self, vectors: FloatArray) -> FloatArray:
        """See ``RowArray``."""
        products = np.empty((len(vectors), len(self)), np.float32)
        products[:, : len(self.base)] = dot_rows(vectors, self.base)
        products[:, self.numbers] = vectors @ self.late.T
        return products

    def dot_items(self, numbers: NDArray[np.integer], vector: FloatArray) -> FloatArray:
        """See ``RowArray``."""
        places, is_late = locate(self.numbers, numbers)
        if not is_late.any():
            return dot_items(self.base, numbers, vector)
        products = np.empty(len(numbers), np.float32)
        products[is_late] = self.late[places[is_late]] @ vector
        products[~is_late] = dot_items(self.base, numbers[~is_late], vector)
        return products


def merge_numbers(late: IntArray, more: IntArray) -> tuple[IntArray, NDArray[np.intp]]:
    """Numbers (K,) of late rows (L,) and of more (M,), ascending, each once.

    Returns them, and the places (K,) of the newest row of each among all (L + M) rows.
    """
    joined = np.concatenate([late, more])
    merged, from_end = np.unique(joined[::-1], return_index=True)
    return merged.astype(np.int32), len(joined) - 1 - from_end


def put_rows(rows: _Array, numbers: IntArray, new: NDArray[Any]) -> _Array:
    """Rows (N, ...) in which ``new`` (M, ...) are those of the numbers (M,), see ``LateRows``."""
    base = rows if isinstance(rows, LateRows) else LateRows(rows)
    return cast("_Array", base.put(numbers, new))


def late_numbers(rows: NDArray[Any]) -> IntArray:
    """(L,) int32 numbers of the late rows of an array, ascending."""
    return rows.numbers if isinstance(rows, LateRows) else NO_ITEMS
