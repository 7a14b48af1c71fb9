"""Orthogonal Procrustes: the rotation or reflection that brings one cloud of vectors onto another.

An orthogonal map that is applied to both sides of a dot product leaves it as it is, so whatever was
learned in a space of arbitrary axes may be told in other ones. Plain numpy; doubles inside.

Shapes: M items, D vector size.

Paper: Schoenemann 1966, "A generalized solution of the orthogonal Procrustes problem". Differs:
directions that the items do not fill are turned as little as can be, not anyhow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray

_FILLED = 1e-6
"""Directions whose singular value is a smaller share of the largest one are not filled: they are
rounding, as is the mean of vectors that left a layer norm."""

Matrix = NDArray[np.float64]


def procrustes(source: FloatArray, target: FloatArray) -> FloatArray:
    """The orthogonal R (D, D) that makes ``source @ R`` nearest to ``target``, both (M, D).

    Nearest by the sum of squares. Where that leaves a choice (fewer items than dimensions, or
    items in a plane), the R nearest to the identity; without items it is the identity.
    """
    shared = source.astype(np.float64).T @ target.astype(np.float64)
    left, values, right = np.linalg.svd(shared)
    rank = int((values > _FILLED * max(values[0], np.finfo(np.float64).tiny)).sum())
    turned = left[:, :rank] @ right[:rank]
    empty, onto = left[:, rank:], right[rank:].T
    return np.asarray(turned + empty @ _orthogonal(empty.T @ onto) @ onto.T, dtype=np.float32)


def mean_cosine(source: FloatArray, target: FloatArray) -> float | None:
    """Mean cosine of the rows of two (M, D); rows that are zero in either say nothing.

    Returns:
        in [-1, 1]; None where no row says anything.
    """
    lengths = np.linalg.norm(source, axis=1) * np.linalg.norm(target, axis=1)
    known = lengths > 0
    if not known.any():
        return None
    return float(((source * target).sum(1)[known] / lengths[known]).mean())


def agreement(source: FloatArray, target: FloatArray) -> float | None:
    """Mean cosine of ``source``, turned by ``procrustes``, with ``target``, both (M, D).

    Each half of the items is turned by what the other half says, so that items which the turn was
    fitted to do not praise it: unrelated vectors have 0, also where items are few.

    Returns:
        in [-1, 1]; None where no item says anything.
    """
    turned = np.empty_like(source)
    for half in (slice(0, None, 2), slice(1, None, 2)):
        other = slice(1 - (half.start or 0), None, 2)
        turned[half] = source[half] @ procrustes(source[other], target[other])
    return mean_cosine(turned, target)


def _orthogonal(matrix: Matrix) -> Matrix:
    """The orthogonal matrix nearest to a square one."""
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ right)
