"""Type aliases of the numpy arrays that modules exchange; users' docstrings give the shapes.

Shape letters: B queries in a batch, N items, T events of a history, D vector size, L levels of a
semantic ID, K codes of a codebook, C candidates, F features.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.int32]
FloatArray: TypeAlias = NDArray[np.float32]
TimeArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]

NO_ITEMS: IntArray = np.empty(0, dtype=np.int32)
NO_ITEMS.setflags(write=False)
