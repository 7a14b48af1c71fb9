"""nDCG@10 of one wanted item per request among all items: what training stops by.

Shapes: R requests, N items, E excluded places.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray

_TOP = 10


def ndcg_of_wanted(
    scores: FloatArray,
    wanted: NDArray[np.int64],
    excluded: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.float64]:
    """(R,) 1 / log2(rank + 1) where rank <= 10, else 0; ties count half, NaN comes last.

    Args:
        scores: (R, N); they change.
        wanted: (R,) item numbers.
        excluded: rows (E,) and items (E,) not ranked; a wanted item always is.
    """
    line = np.arange(len(wanted))
    own = scores[line, wanted][:, None]
    scores[excluded] = -np.inf
    scores[line, wanted] = own[:, 0]
    above = np.count_nonzero(scores > own, axis=1)
    place = above + (np.count_nonzero(scores == own, axis=1) - 1) / 2
    place[np.isnan(own[:, 0])] = _TOP
    return np.where(place < _TOP, 1 / np.log2(place + 2), 0.0)
