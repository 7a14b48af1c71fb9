"""Arrays with one row per item that grow and change at a cost independent of their length.

A generation's arrays are memory-mapped and never change. Items posted later are appended to a
buffer that doubles when it is full, and changed items get rows in a second one. Snapshots share
both buffers: each reads only the rows that it was made with, so a request keeps its own state
while the next one is written.

``append_rows`` and ``replace_rows`` return ``GrowingRows`` under the type of an array.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.data.rows.row_array import RowArray, dot_items, dot_rows

_Array = TypeVar("_Array", bound=NDArray[Any])
_SMALLEST = 16
_NONE: IntArray = np.empty(0, np.int32)


class _Buffer:
    """Rows that are only ever appended; readers know how many of them are theirs."""

    __slots__ = ("rows", "used")

    def __init__(self, rows: NDArray[Any], used: int = 0) -> None:
        self.rows, self.used = rows, used

    def with_rows(self, at: int, new: NDArray[Any]) -> _Buffer:
        """The buffer with rows from ``at`` on: this one, or a copy if they do not fit there."""
        end = at + len(new)
        buffer = self
        if at != self.used or end > len(self.rows):
            shape = (max(_SMALLEST, 2 * end), *self.rows.shape[1:])
            buffer = _Buffer(np.empty(shape, self.rows.dtype))
            buffer.rows[:at] = self.rows[:at]
        buffer.rows[at:end] = new
        buffer.used = end
        return buffer


class GrowingRows(RowArray):
    """An immutable array (N, ...) of base rows, appended rows and changed rows.

    Args:
        base: (N0, ...) rows, memory-mapped or not; never written to.
    """

    __slots__ = ("_added", "_base", "_changed", "_num_added", "_num_changed", "_rows", "_slots")

    def __init__(self, base: NDArray[Any]) -> None:
        self._base = base if isinstance(base, RowArray) else np.asarray(base)
        empty = np.empty((0, *self._base.shape[1:]), self._base.dtype)
        self._added, self._num_added = _Buffer(empty), 0
        self._changed, self._num_changed = _Buffer(empty), 0
        self._rows = self._slots = _NONE  # changed rows, ascending, and their places in _changed

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)."""
        return (len(self._base) + self._num_added, *self._base.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._base.dtype

    def appended(self, rows: NDArray[Any]) -> GrowingRows:
        """A copy with more rows at the end."""
        copy = self._copy()
        copy._added = self._added.with_rows(self._num_added, np.asarray(rows))
        copy._num_added = self._num_added + len(rows)
        return copy

    def replaced(self, numbers: IntArray, rows: NDArray[Any]) -> GrowingRows:
        """A copy in which ``rows`` (M, ...) are those of the numbers (M,); of equal ones the last.

        Raises:
            IndexError: a number is not that of a row.
        """
        numbers = np.asarray(numbers, np.int32)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(f"numbers {numbers.min()} to {numbers.max()} of {len(self)} rows")
        copy = self._copy()
        copy._changed = self._changed.with_rows(self._num_changed, np.asarray(rows))
        copy._num_changed = self._num_changed + len(numbers)
        last = {number: self._num_changed + row for row, number in enumerate(numbers.tolist())}
        new_rows = np.array(sorted(last), np.int32)
        slots = np.array([last[row] for row in new_rows.tolist()], np.int32)
        places = np.searchsorted(self._rows, new_rows)
        is_known = self._find(new_rows)
        copy._slots = self._slots.copy()
        copy._slots[places[is_known]] = slots[is_known]
        copy._rows = np.insert(self._rows, places[~is_known], new_rows[~is_known])
        copy._slots = np.insert(copy._slots, places[~is_known], slots[~is_known])
        return copy

    def _find(self, numbers: NDArray[np.integer]) -> BoolArray:
        """(M,) True for numbers of changed rows."""
        if not len(self._rows):
            return np.zeros(len(numbers), np.bool_)
        places = np.minimum(np.searchsorted(self._rows, numbers), len(self._rows) - 1)
        is_changed: BoolArray = self._rows[places] == numbers
        return is_changed

    def _are_of_base(self, numbers: NDArray[np.integer]) -> bool:
        """True if these numbers (...) can be read from the base alone, which is much faster."""
        if len(self._rows) and self._find(numbers.ravel() % max(len(self), 1)).any():
            return False
        return not self._num_added or (
            numbers.size > 0 and 0 <= numbers.min() and int(numbers.max()) < len(self._base)
        )

    def take(self, numbers: NDArray[np.integer]) -> NDArray[Any]:
        """Rows (..., ...) of the numbers (...), in their order; negative ones count from the end.

        Raises:
            IndexError: a number is not that of a row.
        """
        if self._are_of_base(numbers):
            return np.asarray(self._base[numbers])
        flat = numbers.ravel()
        flat = np.where(flat < 0, flat + len(self), flat)
        in_base = flat < len(self._base)
        taken: NDArray[Any]
        if in_base.all():
            taken = self._base[flat]
        else:
            taken = np.empty((len(flat), *self._base.shape[1:]), self.dtype)
            taken[in_base] = self._base[flat[in_base]]
            added = self._added.rows[: self._num_added]
            taken[~in_base] = added[flat[~in_base] - len(self._base)]
        if len(self._rows):
            is_changed = self._find(flat)
            places = np.searchsorted(self._rows, flat[is_changed])
            taken[is_changed] = self._changed.rows[self._slots[places]]
        return taken.reshape(*numbers.shape, *self._base.shape[1:])

    def dot(self, vectors: FloatArray) -> FloatArray:
        """``vectors @ rows.T`` (B, N) of vectors (B, D), without a copy of the rows."""
        first = len(self._base)
        products = np.empty((len(vectors), len(self)), np.float32)
        products[:, :first] = dot_rows(vectors, self._base)
        products[:, first:] = vectors @ self._added.rows[: self._num_added].T
        products[:, self._rows] = vectors @ self._changed.rows[self._slots].T
        return products

    def dot_items(self, numbers: NDArray[np.integer], vector: FloatArray) -> FloatArray:
        """Products (M,) of rows and a vector (D,)."""
        is_newer = (numbers >= len(self._base)) | self._find(numbers)
        if not is_newer.any():
            return dot_items(self._base, numbers, vector)
        products = np.empty(len(numbers), np.float32)
        products[is_newer] = super().dot_items(numbers[is_newer], vector)
        products[~is_newer] = dot_items(self._base, numbers[~is_newer], vector)
        return products

    def _copy(self) -> GrowingRows:
        copy = GrowingRows.__new__(GrowingRows)
        for name in self.__slots__:
            setattr(copy, name, getattr(self, name))
        return copy


def append_rows(rows: _Array, more: NDArray[Any]) -> _Array:
    """Rows (N, ...) with further ones at the end."""
    return cast("_Array", _growing(rows).appended(more))


def replace_rows(rows: _Array, numbers: IntArray, new: NDArray[Any]) -> _Array:
    """Rows (N, ...) in which ``new`` (M, ...) replace those of the numbers (M,)."""
    return cast("_Array", _growing(rows).replaced(numbers, new))


def _growing(rows: NDArray[Any]) -> GrowingRows:
    return rows if isinstance(rows, GrowingRows) else GrowingRows(rows)
