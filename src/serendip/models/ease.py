"""What a linear model makes of who had what, in closed form: EASE.

``B`` minimises ``|X - X B|^2 + l2 |B|^2`` under a zero diagonal, ``X`` the users' items: with
``P = (X^T X + l2 I)^-1`` it is ``B[i, j] = -P[i, j] / P[j, j]`` (Steck 2019, "Embarrassingly
Shallow Autoencoders for Sparse Data", arXiv:1905.03375). Unlike a cosine, a weight counts only what
the other items of a user do not already explain.

Different here: the events of a history lose weight with age, and only the largest positive weights
of each item are kept. On Amazon Beauty 200 a row rank as well as the whole matrix with its negative
half, in a thirtieth of the space. Float32 does as well as float64: there the weights differ by 1e-7
at most.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from serendip.data.arrays import FloatArray
from serendip.data.dataset import Dataset
from serendip.errors import DataError
from serendip.models.item_to_item import ItemToItem, ItemToItemConfig, seen_matrix
from serendip.models.neighbours import top_of_rows
from serendip.models.sparse import Sparse, csr, stacked
from serendip.scale.options import TrainOptions

_ROWS_AT_ONCE = 1024


class EASEConfig(ItemToItemConfig):
    """How much the weights are held back, and when the matrix is too large."""

    l2: float = Field(default=250.0, gt=0)
    """Ridge added to the diagonal, in users."""

    max_items: int = Field(default=30_000, ge=1)
    """Items with events above which training is refused: time grows with their number cubed,
    memory with 4 bytes of its square (30,000: 3.6 GB, about 5 minutes of one core)."""


class EASE(ItemToItem):
    """Weights of a ridge regression of every item on all others; items without events have none."""

    name = "ease"
    config_class = EASEConfig
    config: EASEConfig

    def _compare(self, dataset: Dataset, options: TrainOptions) -> Sparse:
        reached = np.flatnonzero(dataset.item_counts()).astype(np.int32)
        count, total = len(reached), dataset.num_items
        if count > self.config.max_items:
            raise DataError(
                f"model {self.name!r} inverts a matrix of all items and {count} items have "
                f"events; its limit is max_items = {self.config.max_items}.",
                "Leave the model out (item-knn does similar work), or raise max_items.",
            )
        if not count:
            return csr((total, total))
        inverse = _ridge_inverse(csr(seen_matrix(dataset)[:, reached]), self.config.l2)
        scale = -1.0 / inverse.diagonal()
        starts = range(0, count, _ROWS_AT_ONCE)
        blocks = []
        for begin in options.progress.track(starts, "Weighing items", len(starts)):
            weights = _rows_of_symmetric(inverse, begin, begin + _ROWS_AT_ONCE) * scale
            own = np.arange(len(weights))
            weights[own, begin + own] = 0.0
            blocks.append(top_of_rows(weights, self.config.num_neighbours))
        found = stacked(blocks, count).tocoo()
        return csr((found.data, (reached[found.row], reached[found.col])), (total, total))


def _ridge_inverse(seen: Sparse, l2: float) -> FloatArray:
    """Lower triangle of ``(X^T X + l2 I)^-1``; the upper one holds other numbers.

    Made where the Gram matrix stood, by Cholesky: one (N, N) float32 matrix in memory.

    Raises:
        DataError: l2 is too small for float32.
    """
    from scipy.linalg import lapack

    matrix = csr(seen.T @ seen).toarray(order="F")
    diagonal = np.arange(len(matrix))
    matrix[diagonal, diagonal] += l2
    factor, failed = lapack.spotrf(matrix, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise DataError(f"l2 = {l2} makes no matrix that can be inverted.", "Raise l2 of ease.")
    inverse: FloatArray = lapack.spotri(factor, lower=1, overwrite_c=1)[0]
    return inverse


def _rows_of_symmetric(lower: FloatArray, begin: int, end: int) -> FloatArray:
    """Full rows [begin, end) of a symmetric matrix of which only the lower triangle counts."""
    left = lower[begin:end, :begin]
    square = np.tril(lower[begin:end, begin:end])
    right = lower[end:, begin:end].T
    return np.concatenate([left, square + np.tril(square, -1).T, right], axis=1)
