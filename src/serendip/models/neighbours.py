"""Nearest items by content, as a sparse matrix that spreads behaviour to things that are alike."""

from __future__ import annotations

import numpy as np

from serendip.data.arrays import FloatArray, IntArray
from serendip.models.sparse import Sparse, csr, scaled_rows, stacked

_ROWS_AT_ONCE = 1024
_POWER = 4
"""Cosine to this power: the nearest few must outweigh the many that are merely related."""


def content_neighbours(
    vectors: FloatArray, numbers: IntArray, catalogue: FloatArray, count: int
) -> Sparse:
    """The nearest catalogue items of each vector, weighted by cosine^4; rows sum to 1.

    Args:
        vectors: (M, D) float32 unit vectors; a zero vector has no neighbours.
        numbers: (M,) the items that the rows stand for; no item is a neighbour of itself. A number
            outside the catalogue stands for an item that is not in it.
        catalogue: (N, D) float32 unit vectors.
        count: neighbours per row, at most.

    Returns:
        (M, N) float32; a row without positive cosine is empty.
    """
    blocks = []
    for begin in range(0, len(vectors), _ROWS_AT_ONCE):
        block = vectors[begin : begin + _ROWS_AT_ONCE]
        cosines = block @ catalogue.T
        own = numbers[begin : begin + _ROWS_AT_ONCE]
        inside = (own >= 0) & (own < len(catalogue))
        cosines[np.flatnonzero(inside), own[inside]] = 0.0
        blocks.append(_normalised_rows(top_of_rows(cosines, count)))
    return stacked(blocks, len(catalogue))


def top_of_rows(values: FloatArray, count: int) -> Sparse:
    """The ``count`` largest positive entries of each row of a dense (M, N) matrix."""
    rows, width = values.shape
    count = min(count, width)
    if count == 0 or rows == 0:
        return csr((rows, width))
    # Of the negated values: a small place is found several times faster than one near the end.
    columns = np.argpartition(-values, count - 1, axis=1)[:, :count]
    columns.sort(axis=1)
    best = np.maximum(np.take_along_axis(values, columns, axis=1), 0.0)
    starts = np.arange(rows + 1) * count
    matrix = csr((best.ravel(), columns.ravel().astype(np.int32), starts), (rows, width))
    matrix.eliminate_zeros()
    return matrix


def _normalised_rows(cosines: Sparse) -> Sparse:
    weights = cosines.power(_POWER)
    sums = weights.sum(axis=1)
    return scaled_rows(weights, np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0))
