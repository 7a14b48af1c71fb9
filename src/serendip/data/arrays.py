"""Type aliases of the numpy arrays that modules exchange; users' docstrings give the shapes.

Shape letters: B queries in a batch, N items, T events of a history, D vector size, L levels of a
semantic ID, K codes of a codebook, C candidates, F features.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.int32]
FloatArray: TypeAlias = NDArray[np.float32]
TimeArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]

NO_ITEMS: IntArray = np.empty(0, dtype=np.int32)
NO_ITEMS.setflags(write=False)


def locate(ascending: NDArray[Any], values: NDArray[Any]) -> tuple[NDArray[np.intp], BoolArray]:
    """Find values (C,) in an ascending array (M,) without repeats.

    Returns:
        positions (C,), and which values (C,) are there; the positions of the others mean nothing.
    """
    if not len(ascending):
        return np.zeros(len(values), np.intp), np.zeros(len(values), np.bool_)
    positions = np.searchsorted(ascending, values)
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
