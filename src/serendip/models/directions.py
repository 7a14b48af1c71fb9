"""The directions in which vectors differ most: fewer numbers to read, nearly the same products.

(Principal directions without centring: the truncated singular value decomposition.)
"""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import FloatArray


def main_directions(vectors: FloatArray, count: int) -> FloatArray:
    """(C, R) orthonormal, R = ``count`` at most, of vectors (n, C).

    ``(vectors @ main) @ (main.T @ v)`` is nearly ``vectors @ v``, and exactly that where R = C.
    """
    ordered = np.linalg.eigh(vectors.T @ vectors)[1]
    main: FloatArray = ordered[:, -count:].astype(np.float32)
    return main
