"""Type aliases of the numpy arrays that modules exchange; users' docstrings give the shapes.

Shape letters: B queries in a batch, N items, T events of a history, D vector size, L levels of a
semantic ID, K codes of a codebook, C candidates, F features.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.int32]
FloatArray: TypeAlias = NDArray[np.float32]
TimeArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]

NO_ITEMS: IntArray = np.empty(0, dtype=np.int32)
NO_ITEMS.setflags(write=False)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    _Table = TypeVar("_Table", bound=DataclassInstance)


def take_rows(table: _Table, rows: NDArray[Any]) -> _Table:
    """A copy of a dataclass whose columns are arrays and lists, with some of their rows.

    ``rows`` are numbers (M,), or a mask; a column of no rows stays as it is.
    """
    columns = {field.name: getattr(table, field.name) for field in fields(table) if field.init}
    chosen: dict[str, Any] = {}
    for name, column in columns.items():
        if isinstance(column, np.ndarray) and len(column):
            chosen[name] = column[rows]
        elif isinstance(column, list | tuple) and column:
            chosen[name] = [column[row] for row in rows.tolist()]
    return replace(table, **chosen)


def take_ranges(
    starts: NDArray[np.integer], rows: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Select rows (M,) of entries that are stored row after row, with offsets ``starts`` (N + 1,).

    Returns:
        (M + 1,) offsets of the selected rows, and the places of their entries.
    """
    begins = starts[:-1][rows]
    lengths = starts[1:][rows] - begins
    new = np.append(np.int64(0), np.cumsum(lengths))
    return new, np.arange(new[-1]) + np.repeat(begins - new[:-1], lengths)


def rank_by_first(codes: IntArray, count: int) -> tuple[IntArray, IntArray]:
    """Renumber codes (E,) in [0, ``count``) by their first appearance.

    Returns:
        (E,) the new codes, and the (P,) old codes by new one: only those that appear.
    """
    first = np.full(count, len(codes), np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of equal codes the last write counts
    ordered = np.argsort(first, kind="stable")[: int((first < len(codes)).sum())]
    ranks = np.zeros(count, np.int32)
    ranks[ordered] = np.arange(len(ordered))
    return ranks[codes], ordered.astype(np.int32)


def locate(ascending: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[np.intp], BoolArray]:
    """Positions (C,) of values in an ascending array (M,) without repeats, and which are there."""
    if not len(ascending):
        return np.zeros(len(values), np.intp), np.zeros(len(values), np.bool_)
    # Of another width, numpy would copy the whole array.
    positions = np.searchsorted(ascending, values.astype(ascending.dtype, copy=False))
    positions[positions == len(ascending)] = 0
    return positions, ascending[positions] == values


def are_within(values: NDArray[np.integer], end: int) -> bool:
    """True if all values (C,) are in [0, end)."""
    return not len(values) or bool(values.min() >= 0 and values.max() < end)


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """The different values (M,), ascending; faster than ``np.unique`` for short arrays."""
    ordered = np.sort(values)
    if len(ordered) < 2:
        return ordered
    once: NDArray[Any] = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    return once


def first_rows(most: int, *keys: NDArray[Any]) -> NDArray[np.intp]:
    """The first rows of the order by several keys, without sorting the rows behind them.

    Keys (N,) have no NaN, the smallest come first; a key decides between rows that all keys before
    it leave equal, and their numbers where all do. ``most`` is at least 1.
    """
    rows, parts, left = np.arange(len(keys[0])), list[NDArray[np.intp]](), most
    for key in keys:
        if left >= len(rows):
            break
        values = key[rows]
        border = np.partition(values, left - 1)[left - 1]
        parts.append(rows[values < border])
        rows, left = rows[values == border], left - len(parts[-1])
    first = np.concatenate([*parts, rows[:left]])
    order: NDArray[np.intp] = first[np.lexsort([key[first] for key in reversed(keys)])]
    return order
