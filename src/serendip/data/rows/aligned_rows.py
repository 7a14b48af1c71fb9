"""Aligned content without storing it: content, a low-rank projection, and one length per row.

An aligned row is ``(x + (x down) up) / length`` of a content row ``x``. A product with an aligned
row is one with the content row, because the projection can be applied to the other vector instead:
``(x + (x down) up) . v = x . (v + (v up^T) down^T)``. So only the lengths are stored.

Shapes: N rows, C content size, M rows that are read, B vectors.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serendip.data.arrays import FloatArray, IntArray
from serendip.data.artefact import Artefact
from serendip.data.dataset import AlignedProjection
from serendip.data.rows.row_array import (
    ROWS_PER_BLOCK,
    PackedRows,
    RowArray,
    dot_items,
    dot_rows,
    put_rows,
)


class AlignedRows(RowArray, Artefact):
    """Aligned unit vectors (N, C) float32 of content (N, C); rows of zeros stay zeros.

    The lengths (N,) are those of the projected rows, 1 where they are zero.
    """

    __slots__ = ("content", "dtype", "lengths", "projection", "shape")

    def __init__(
        self, projection: AlignedProjection, content: FloatArray, lengths: FloatArray
    ) -> None:
        self.projection, self.content, self.lengths = projection, content, lengths
        self.shape, self.dtype = content.shape, np.dtype(np.float32)

    @classmethod
    def of(cls, projection: AlignedProjection, content: FloatArray) -> Self:
        """Measure the lengths of the projected rows of content."""
        return cls(projection, content, _lengths(projection, content))

    def take(self, numbers: NDArray[np.integer]) -> FloatArray:
        """See ``RowArray``."""
        rows = self.projection.apply(self.content[numbers])
        return np.asarray(rows / self.lengths[numbers][..., None], np.float32)

    def dot(self, vectors: FloatArray) -> FloatArray:
        """See ``RowArray``."""
        products = dot_rows(self.projection.apply_transposed(vectors), self.content)
        return np.asarray(products / np.asarray(self.lengths), np.float32)

    def dot_items(self, numbers: NDArray[np.integer], vector: FloatArray) -> FloatArray:
        """See ``RowArray``."""
        turned = self.projection.apply_transposed(vector[None])[0]
        return np.asarray(dot_items(self.content, numbers, turned) / self.lengths[numbers])

    def mean(self, numbers: NDArray[np.integer], weights: FloatArray) -> FloatArray:
        """Weighted mean (C,) of the rows of the numbers (M,); projected once."""
        shares = weights / weights.sum() / self.lengths[numbers]  # (M,)
        mean: FloatArray = self.projection.apply((shares @ self.content[numbers])[None])[0]
        return mean

    def put(self, numbers: IntArray, content: FloatArray) -> Self:
        """A copy with other content (M, C) of the numbers (M,), see ``LateRows.put``."""
        lengths = put_rows(self.lengths, numbers, _lengths(self.projection, content))
        return type(self)(self.projection, put_rows(self.content, numbers, content), lengths)

    def stored(self) -> dict[str, Any]:
        """See ``Artefact``."""
        content = PackedRows.of(self.content)
        return {"projection": self.projection, "content": content, "lengths": self.lengths}


def _lengths(projection: AlignedProjection, content: FloatArray) -> FloatArray:  # (N,), 1 for zeros
    lengths = np.empty(len(content), np.float32)
    for begin in range(0, len(content), ROWS_PER_BLOCK):
        block = slice(begin, begin + ROWS_PER_BLOCK)
        lengths[block] = np.linalg.norm(projection.apply(np.asarray(content[block])), axis=1)
    return np.where(lengths > 0, lengths, np.float32(1.0))
