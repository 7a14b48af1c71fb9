"""Base and late: the arrays of a generation, and a few rows beside them of what came since.

A generation has one row per item, in arrays that are memory-mapped and never written. An item that
is posted or changed after the training is a *late item*: a new one is numbered after all others, a
changed one keeps its number. Everything that is aligned by item number follows one rule:

- ``put(numbers, rows)``, or ``with_late`` of what has more than rows, returns a copy in which the
  rows of these items are other ones. Whether an item is new or changed is told by its number.
- A copy shares the base and has its late rows to itself: a request keeps the state that it began
  with while the next one is made, without a lock and without a writer's buffer.
- Putting costs as much as there are late rows, however long the base is; reading a row costs one
  binary search more. Up to 10,000 late items are meant; the next training makes a base of them.
- What belongs to an item in Python (its words, its title, its values) is in dicts by item number,
  copied in the same way.
- Late rows are never stored: the store has the items, and a restart puts them again.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray, locate
from serendip.data.rows.row_array import RowArray, dot_items, dot_rows

_Array = TypeVar("_Array", bound=NDArray[Any])


class LateRows(RowArray):
    """An immutable array (N, ...) of base rows and late rows, which go before.

    Args:
        base: (N0, ...) rows; never written to.
        numbers: (L,) int32 of the late rows, ascending; those from N0 on leave no gap.
        late: (L, ...) their rows; None = there is none.
    """

    __slots__ = ("base", "late", "numbers")

    def __init__(
        self, base: NDArray[Any], numbers: IntArray = NO_ITEMS, late: NDArray[Any] | None = None
    ) -> None:
        self.base = base if isinstance(base, RowArray) else np.asarray(base)
        self.numbers = numbers
        self.late = np.empty((0, *base.shape[1:]), base.dtype) if late is None else late

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)."""
        end = int(self.numbers[-1]) + 1 if len(self.numbers) else 0
        return (max(len(self.base), end), *self.base.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.base.dtype

    def put(self, numbers: IntArray, rows: NDArray[Any]) -> LateRows:
        """A copy with other rows (M, ...) of the numbers (M,); of equal numbers the last counts.

        Raises:
            IndexError: a number is neither that of a row nor the next new one.
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
        """Rows (..., ...) of the numbers (...), in their order; negative ones count from the end.

        Raises:
            IndexError: a number is not that of a row.
        """
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
        """``vectors @ rows.T`` (B, N) of vectors (B, D), without a copy of the rows."""
        products = np.empty((len(vectors), len(self)), np.float32)
        products[:, : len(self.base)] = dot_rows(vectors, self.base)
        products[:, self.numbers] = vectors @ self.late.T
        return products

    def dot_items(self, numbers: NDArray[np.integer], vector: FloatArray) -> FloatArray:
        """Products (M,) of rows and a vector (D,)."""
        places, is_late = locate(self.numbers, numbers)
        if not is_late.any():
            return dot_items(self.base, numbers, vector)
        products = np.empty(len(numbers), np.float32)
        products[is_late] = self.late[places[is_late]] @ vector
        products[~is_late] = dot_items(self.base, numbers[~is_late], vector)
        return products


def merge_numbers(late: IntArray, more: IntArray) -> tuple[IntArray, NDArray[np.intp]]:
    """Numbers (L,) of late rows and of more (M,), ascending, each once.

    Returns:
        the numbers (K,), and the places (K,) of the newest row of each among all (L + M) rows.
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
